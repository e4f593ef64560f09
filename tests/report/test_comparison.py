"""A comparison in all its forms: the same numbers, and hostile text that stays text."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pgtrace.cli.compare import _measured
from pgtrace.compare.side_by_side import SideBySide
from pgtrace.compare.variants import Variant
from pgtrace.legs.joins import find
from pgtrace.report.comparison import forms, sections, web
from pgtrace.report.page.html import Markup, element, escaped, joined
from pgtrace.report.page.page import STYLE, policy
from pgtrace.trace.trace import Trace
from tests import hostile, playbook

HARM = "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\u202e| `x` [a](javascript:alert(1))"
SLOW = f"""
setting label {HARM}
setting rtt 10000000
F Query SELECT '{HARM}'
40 B DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
50 F Query SELECT nothing
60 B ErrorResponse 42703 {HARM.replace("|", "/")} | ReadyForQuery I
end
""".replace("|", "/").replace(" / ", " | ")
FAST = """
setting label fast
mark begin unit
F Query SELECT 1
B DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
mark end unit
end
"""


@pytest.fixture
def found(tmp_path: Path) -> SideBySide:
    label = HARM.replace("|", "/")
    paths = [(label, playbook.write(tmp_path / "slow.pgtrace", SLOW)), ("fast", playbook.write(tmp_path / "fast.pgtrace", FAST))]
    return _measured([Variant(label), Variant("fast")], [(one, str(path)) for one, path in paths], 1, quiet=True)


class Reader(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs


def test_a_page_loads_and_runs_nothing(found: SideBySide) -> None:
    page = web.as_html(found)
    reader = Reader()
    reader.feed(page)
    assert not {"script", "img", "link", "iframe", "object", "form", "base", "image", "use"} & set(reader.elements)
    assert not [name for name, _ in reader.attributes if name.startswith("on") or name in ("src", "style", "srcset", "action")]
    assert all((value or "").startswith("#") for name, value in reader.attributes if name == "href")
    assert "http://" not in page
    assert "https://" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert {"table", "svg", "a"} <= set(reader.elements)


def test_a_unit_on_several_connections_names_them(found: SideBySide) -> None:
    (variant, *_) = [one for one in found.variants if one.nearest[0].bars]
    turn = variant.nearest[0]
    page = web.as_html(found)
    assert "1 round trip in" in page or "round trips in" in page
    assert 'class="conn"' not in page
    turn.bars = (turn.bars[0], turn.bars[0]._replace(connection="c99"))
    page = web.as_html(found)
    assert "2 round trips on 2 connections in" in page
    assert '<span class="conn">c99</span>' in page


def test_the_policy_allows_the_style_of_the_page_alone(found: SideBySide) -> None:
    page = web.as_html(found)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert style == STYLE
    assert policy() == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert f'content="{escaped(policy())}"' in page


def test_each_number_leads_to_a_command_that_exists(found: SideBySide) -> None:
    page = web.as_html(found)
    targets = set(re.findall(r'id="(n\d+)"', page))
    assert targets
    assert set(re.findall(r'href="#(n\d+)"', page)) == targets
    assert "pgtrace show --filter" in page


def test_markdown_takes_hostile_text_as_text(found: SideBySide) -> None:
    lines = list(forms.as_markdown(found))
    assert not [line for line in lines if re.search(r"(?<!\\)<", line)]
    assert not [line for line in lines if re.search(r"(?<!\\)\[", line)]
    tables = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} <= {4, 7}
    assert not hostile.controls("\n".join(lines)) if hasattr(hostile, "controls") else "\x1b" not in "\n".join(lines)


def test_text_and_json_have_the_same_numbers(found: SideBySide) -> None:
    text = "\n".join(forms.as_text(found))
    told = forms.as_dict(found)
    assert [one["numbers"]["round_trips"]["median"] for one in told["variants"]] == [2, 1]
    assert re.search(r"round trips +2 +1$", text, re.MULTILINE)
    assert told["variants"][0]["sqlstates"] == {"42703": 1}
    assert "\x1b" not in text


@pytest.mark.parametrize("turns", [1, 2])
def test_the_fastest_is_known_only_from_several_turns(tmp_path: Path, turns: int) -> None:
    paths = [(name, playbook.write(tmp_path / f"{name}.pgtrace", text)) for name, text in (("slow", SLOW), ("fast", FAST))]
    found = _measured([Variant("slow"), Variant("fast")], [(name, str(path)) for name, path in paths] * turns, 1, quiet=True)
    best = [place for one in sections.sections(found) for row in one.rows for place, cell in enumerate(row) if cell.role == "best"]
    assert set(best) == ({2} if turns > 1 else set())


def test_what_a_pooler_did_is_a_table_of_its_own(tmp_path: Path) -> None:
    both = Path(__file__).parents[1] / "data" / "findings" / "both_sides.pgtrace"
    plain = playbook.write(tmp_path / "fast.pgtrace", FAST)
    variants = [Variant("pooled"), Variant("fast")]
    side_by_side = _measured(variants, [("pooled", str(both)), ("fast", str(plain))], 1, quiet=True)
    (section,) = [one for one in sections.sections(side_by_side) if one.title.startswith("In the pooler")]
    with contextlib.closing(Trace.open([both])) as trace:
        trace.update()
        joins = find(trace)
        assert joins is not None
        told = joins.as_dict()
        own = joins.own_statements(joins.poolers[0])
    assert list(section.head) == ["", "pooled"]
    cells = {row[0].text: row[1].text for row in section.rows}
    assert cells["round trips that reached a server"] == str(told["joined"])
    assert cells["added by the pooler"] == str(told["added"])
    assert cells["ms in the pooler p95"] == f"{told['pooler_ns']['p95'] / 1e6:.2f}"
    assert [note for note in section.notes if "its own" in note] == [f"pooled: its own: {times} times {sql}" for sql, times in own[:3]]
    first, second = forms.as_dict(side_by_side)["variants"]
    assert (first["turns"][0]["joins"], second["turns"][0]["joins"]) == (told, None)
    assert "pooler_added" in first["numbers"]
    assert "pooler_added" not in second["numbers"]
    assert "In the pooler" in web.as_html(side_by_side)


def test_amounts() -> None:
    assert [sections.amount(*one) for one in [(1.5, "ms"), (2.0, ""), (2.5, ""), (0, ""), (1200, "bytes")]] == [
        "1.50",
        "2",
        "2.50",
        "·",
        "1.2k",
    ]
    assert [sections.duration(ns) for ns in (0, 300_000, 10_000_000)] == ["0ms", "0.3ms", "10ms"]


def test_elements() -> None:
    assert element("td", "<b>", element("br"), class_="a", aria_hidden="true", hidden=True, title=None) == (
        '<td class="a" aria-hidden="true" hidden>&lt;b&gt;<br></td>'
    )
    assert joined("<", Markup("<b>")) == "&lt;<b>"
    assert element("a", "x", title='"><script>') == '<a title="&quot;&gt;&lt;script&gt;">x</a>'
