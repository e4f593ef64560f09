"""Which rows a filter selects: from the index where that knows, from the messages where it does not, and always the same."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgtrace.ask.filter import FilterError, parse
from pgtrace.ask.filter.words import WORDS
from pgtrace.inspect import details
from pgtrace.inspect.message import MessageView
from pgtrace.trace import interned
from pgtrace.trace.trace import Trace
from tests.ask.filter.filter_shop import SHOP
from tests.corpus import NIGHTLY
from tests.playbook import WALL_NS, write

Read = Callable[..., Trace]


def selected(trace: Trace, text: str) -> list[int]:
    """Numbers of the selected rows."""
    return [place + 1 for place in parse(text).over(trace).places()]


QUESTIONS = {
    "": [1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 13],
    "driver:asyncpg": [1, 2, 3, 10, 11, 12],
    "driver ~ ^async": [1, 2, 3, 10, 11, 12],
    "not driver:asyncpg": [4, 5, 7, 8, 13],
    "conn:2": [4, 5, 7, 8, 13],
    "conn:c2": [4, 5, 7, 8, 13],
    "conn:a:2": [4, 5, 7, 8, 13],
    "conn:b:2": [],
    "users": [2, 3],
    "USERS": [2, 3],
    "sql:users": [2, 3],
    "sql ~ ^select": [2, 3, 11, 13],
    "sql ~ ^begin$": [5],
    'sql ~ "for update"': [11],
    "\"it''s\"": [11],
    "'it''''s'": [11],
    "startup": [],
    "prepared": [],
    'like:"SELECT  id, name FROM users WHERE id = $1"': [2, 3],
    'like:"SELECT id, name FROM users"': [],
    "like:BEGIN": [5],
    "fingerprint:d15c26a3d4131a9a": [2, 3],
    "fingerprint:D15C26": [2, 3],
    "fingerprint:15c26a3d4131a9a": [],
    "stmt:__asyncpg_stmt_1__": [2, 3],
    "stmt ~ ^__asyncpg_": [2, 3],
    "stmt ~ .": [2, 3],
    "type:Describe": [2],
    "type:describe": [2],
    "type:Query": [5, 8, 11, 13],
    "type ~ ^Authentication": [1, 4],
    "type:AuthenticationOk": [1, 4],
    "type:StartupMessage": [1, 4],
    "type:NotificationResponse": [10],
    "type:Terminate": [12],
    "type:CopyData": [],
    "sqlstate:23505": [7],
    "sqlstate ~ ^23": [7],
    "sqlstate:23": [],
    "rt:7": [7],
    "rt>=11": [11, 12, 13],
    "ms>10": [7, 13],
    "ms < 1": [10, 12],
    "ms = 38": [13],
    "depth > 1": [7],
    "depth:2": [7],
    "rows:1": [3],
    "rows > 1000": [11],
    "count.rows": [3, 11],
    "count.rows > 1": [11],
    "count.rows:0 and type:Query": [5, 8, 13],
    "COUNT.errors": [7],
    "count.transactions": [5],
    "count.statements_reused": [],
    "count.frontend_messages.terminate": [12],
    "count.notifications": [10],
    "fmt:b": [3],
    "fmt:binary": [3],
    "fmt:text": [7, 11],
    "tx": [5, 7, 8],
    "tx:T": [5],
    "tx:E": [7],
    "tx:idle and conn:2": [4, 8, 13],
    "at ~ .": [],
    "trace:0af7": [],
    "tag.KEY": [],
    "label ~ .": [],
    "leg:6433": [1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 13],
    "mark:test_checkout": [7, 8],
    "mark:test": [],
    "mark ~ test": [7, 8],
    "user:app": [1, 2, 3, 10, 11, 12],
    "db:warehouse": [4, 5, 7, 8, 13],
    "app:web": [1, 2, 3, 10, 11, 12],
    "app ~ worker": [4, 5, 7, 8, 13],
    "error": [7],
    "error:DUPLICATE": [7],
    "error:23505": [],
    "error ~ ^duplicate.*value$": [7],
    "conn:2 and not (tx or type:StartupMessage)": [13],
    "error or users": [2, 3, 7],
}


def _put_together(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(parts, st.sampled_from(["and", "or"]), parts)
    return st.one_of(parts.map(lambda part: f"not ({part})"), two.map(lambda found: f"({found[0]}) {found[1]} ({found[2]})"))


@settings(max_examples=500 if NIGHTLY else 100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(st.sampled_from([text for text in QUESTIONS if text]), _put_together, max_leaves=6), st.integers(0, 12), st.booleans())
def test_many_rows_at_once_are_what_each_row_says(shop: Trace, forgetful: Trace, text: str, first: int, forgets: bool) -> None:
    trace = forgetful if forgets else shop
    selection = parse(text).over(trace)
    places = range(first, len(trace.rows))
    assert list(selection.among(places)) == [place for place in places if selection.holds(place)]
    rows = trace.rows.columns(first, len(trace.rows))
    assert list(selection.counted(rows).places) == [place for place in places if selection.selects(place)]
    decided = selection.decide(rows)
    for place, selected, unread in zip(places, *decided, strict=True):
        assert unread or bool(selected) == selection.holds(place)


@pytest.mark.parametrize("text", QUESTIONS)
def test_what_is_selected(same_shop: Trace, text: str) -> None:
    assert selected(same_shop, text) == QUESTIONS[text]


def test_every_word_is_asked() -> None:
    words = {name.partition(".")[0] for name in WORDS}
    assert words - {re.split(r"\W", text)[0] for text in QUESTIONS} == set(), "QUESTIONS has none with these words"


@pytest.fixture
def forgetful(shop: Trace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trace]:
    """With tables that keep nothing, every answer has to be read from the capture."""
    monkeypatch.setattr(interned, "SHAPES_KEPT", 0)
    monkeypatch.setattr(interned, "LABELS_KEPT", 0)
    with closing(Trace.open(shop.files)) as trace:
        while trace.update():
            pass
        yield trace


def test_the_messages_say_what_the_index_says(forgetful: Trace) -> None:
    for text, places in QUESTIONS.items():
        assert selected(forgetful, text) == places, text


def test_what_the_index_knows_is_not_read(shop: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(trace: Trace, place: int) -> list[MessageView]:
        raise AssertionError(place)

    monkeypatch.setattr(details, "scan", never)
    assert selected(shop, "error and sqlstate:23505 and error:duplicate") == [7]
    assert selected(shop, "conn:1 and users and stmt ~ 1 and type:Bind") == [3]
    with pytest.raises(AssertionError):
        selected(shop, "type:AuthenticationOk")


PIPELINE = """
F Parse a SELECT 1 FROM first | Parse b SELECT 2 FROM second | Bind - a | Execute - | Bind - b | Execute - | Sync
F Parse c SELECT 3 FROM third | Close S old | Sync
B ErrorResponse 42P01 no first | ReadyForQuery I | ErrorResponse 42601 no third | ReadyForQuery I
F Bind - earlier params=1 | Execute - | Sync
B ErrorResponse 26000 no such statement | ReadyForQuery I
F Query COPY t FROM STDIN
B CopyInResponse
F CopyData 1 | CopyDone
B CommandComplete COPY 1 | ReadyForQuery I
end
"""


def test_all_statements_and_errors_of_a_round_trip_count(read: Read, tmp_path: Path) -> None:
    trace = read(write(tmp_path / "a.pgtrace", PIPELINE))
    for text in (
        "first",
        "second",
        "third",
        "stmt:a",
        "stmt:b",
        "stmt:c",
        "stmt:old",
        "sqlstate:42P01",
        "sqlstate:42601",
        "error:third",
        "sql ~ second$",
    ):
        assert selected(trace, text) == [2], text
    assert selected(trace, "sql ~ 'first.*second'") == []
    assert selected(trace, "stmt:earlier") == [3]
    assert selected(trace, "earlier") == []
    assert selected(trace, "copy") == [4, 5]


def test_several_files_have_letters(read: Read, tmp_path: Path) -> None:
    one = "F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\nend\n"
    trace = read(write(tmp_path / "first.pgtrace", one), write(tmp_path / "second.pgtrace", one, wall_ns=WALL_NS + 10**9))
    assert selected(trace, "conn:1") == [1, 2, 3, 4]
    assert selected(trace, "conn:b:1") == [3, 4]


def test_a_row_whose_messages_are_gone_is_told_and_left_out(shop: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(trace: Trace, place: int) -> list[MessageView]:
        raise details.NotKept

    monkeypatch.setattr(details, "scan", gone)
    selection = parse("type:AuthenticationOk or error").over(shop)
    assert [place + 1 for place in selection.places()] == [7]
    assert selection.undecided == 2
    selection = parse("not type:AuthenticationOk and conn:2 and rt < 6").over(shop)
    assert [place + 1 for place in selection.places()] == [5]
    assert selection.undecided == 1


def test_a_costly_expression_is_an_error_at_its_place(read: Read, tmp_path: Path) -> None:
    letters = "".join(random.Random(7).choices("ab", k=20_000))
    trace = read(write(tmp_path / "a.pgtrace", f"F Query {letters}\nB ErrorResponse 42601 none | ReadyForQuery I\nend\n"))
    text = 'error and sql ~ "(a|b)*a(a|b){12}c"'
    with pytest.raises(FilterError) as raised:
        selected(trace, text)
    assert text[raised.value.position :][: raised.value.length] == 'sql ~ "(a|b)*a(a|b){12}c"'


def test_it_goes_on_while_a_capture_grows(read: Read, tmp_path: Path) -> None:
    trace = read(write(tmp_path / "a.pgtrace", SHOP.rpartition("62  ")[0]))
    assert selected(trace, "pg_sleep") == []
    assert selected(trace, "conn:2") == [4, 5, 7, 8]
