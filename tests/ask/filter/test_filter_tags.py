"""Tags in comments, trace ids and legs: what a filter on them selects, and what completion offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pgtrace.ask.filter import FilterError, completion, parse
from pgtrace.ask.filter.completion import Occurring
from pgtrace.ask.filter.words import WORDS, known
from pgtrace.trace import interned
from pgtrace.trace.feed import Feed
from pgtrace.trace.trace import Trace
from tests.playbook import write

TRACE, OTHER = "0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319c"
DONE = "CommandComplete SELECT 1 | ReadyForQuery I"
TAGGED = f"""
F Query SELECT 1 /*route='%2Fcheckout',traceparent='00-{TRACE}-b7ad6b7169203331-01'*/
B {DONE}
F Query SELECT 1 /*route='%2Fcart',traceparent='00-{OTHER}-b7ad6b7169203331-01'*/
B {DONE}
F Query SELECT 1
B {DONE}
F Parse - SELECT 2 /*route='%2Fcheckout'*/ | Bind - - | Execute - | \
Parse - SELECT 3 /*route='%2Fcart',job='x'*/ | Bind - - | Execute - | Sync
B ParseComplete | BindComplete | CommandComplete SELECT 1 | ParseComplete | BindComplete | CommandComplete SELECT 1 | ReadyForQuery I
F Query /*Route:other*/ SELECT 4
B {DONE}
end
"""
"""Rows 2 to 6, behind the start-up."""


@pytest.fixture
def tagged(read: Callable[..., Trace], tmp_path: Path) -> Trace:
    return read(write(tmp_path / "tagged.pgtrace", TAGGED))


@pytest.fixture
def forgetful(tagged: Trace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trace]:
    """The same with tables that keep nothing, so that messages have to be read."""
    monkeypatch.setattr(interned, "SHAPES_KEPT", 0)
    monkeypatch.setattr(interned, "LABELS_KEPT", 0)
    with closing(Trace.open(tagged.files)) as trace:
        while trace.update():
            pass
        yield trace


SELECTED = {
    "tag.route:/checkout": [2, 5],
    "tag.route:/cart": [3, 5],
    "tag.route = /cart and not tag.job:x": [3],
    "tag.route ~ ^/c": [2, 3, 5],
    "tag.route:checkout": [],
    "tag.route": [2, 3, 5],
    "tag.Route:other": [6],
    "TAG.Route": [6],
    "tag.nothing": [],
    "not tag.route and rt > 1": [4, 6],
    "tag.traceparent ~ -01$": [2, 3],
    f"trace:{TRACE}": [2],
    f"trace:{TRACE[:8].upper()}": [2],
    f"trace:00-{OTHER}-ffffffffffffffff-00": [3],
    "trace:00": [],
    "'tag.route'": [],
    "leg:6433": [1, 2, 3, 4, 5, 6],
    "leg:10.0.0.1:5432": [1, 2, 3, 4, 5, 6],
    "leg:6434": [],
}


@pytest.mark.parametrize("text", SELECTED)
def test_what_is_selected(tagged: Trace, forgetful: Trace, text: str) -> None:
    assert [place + 1 for place in parse(text).over(tagged).places()] == SELECTED[text]
    assert [place + 1 for place in parse(text).over(forgetful).places()] == SELECTED[text]


@pytest.mark.parametrize(
    ("text", "at"), [("trace:xyz", "xyz"), ("trace:00-ab-cd-01", "00-ab-cd-01"), ("tag.a < 3", "tag.a <"), ("tag.a:", "")]
)
def test_what_is_no_filter(text: str, at: str) -> None:
    with pytest.raises(FilterError) as raised:
        parse(text)
    assert text[raised.value.position :].startswith(at)


def test_tags_that_occur_are_offered_with_their_numbers(tagged: Trace) -> None:
    occurring, feed = Occurring(tagged), Feed(tagged)
    feed.subscribe(occurring)
    feed.advance()
    route = known("tag.route")
    assert route is not None
    assert sorted((one.text, one.round_trips) for one in occurring.values(route)) == [("/cart", 2), ("/checkout", 2)]
    assert [(one.text, one.round_trips) for one in occurring.tag_words("tag.r")] == [("tag.route:", 3)]
    assert [one.text for one in occurring.tag_words("tag.t")] == ["tag.traceparent:"]
    assert [one.text for one in occurring.values(WORDS["trace"], "0a")] == [TRACE]
    assert [choice.text for choice in completion.words("ta")] == ["tag."]
    found = completion.expected("conn:1 tag.route:/ch", 20)
    assert (found.typed, found.word and found.word.key) == ("/ch", "route")
