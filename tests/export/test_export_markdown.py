"""A capture as Markdown: the counts of `stats`, the findings of `advise`, and no text from the wire
that means anything to a reader of Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pgtrace.export import markdown
from pgtrace.report.markdown import code, plain
from pgtrace.trace.trace import Trace
from tests import playbook

CAPTURES = Path(__file__).parents[2] / "captures"
HOSTILE = (
    "*a* _b_ `c` [d](http://e) <img src=x> <b> | ~~f~~ # &amp; $g$",
    r"\| \\ \` trailing \ ",
    "``` | ```\n# heading\n- item",
    "@someone #12 GH-12 https://example.org www.example.org !5 ~label &6",
    "</code><script>alert(1)</script>",
    "\x1b[31m\u202e::error::x ##[error]",
)
OURS = {"<code>", "</code>", "<!-- -->"}


def document(*paths: Path) -> str:
    trace = Trace.open(list(paths))
    while trace.update():
        pass
    text = "".join(str(piece.content) for piece in markdown.export(trace))
    trace.close()
    return text


def tokens(text: str) -> list[Token]:
    return [
        inner
        for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
        for inner in (token, *(token.children or ()))
    ]


def shown(text: str) -> str:
    """What a reader sees."""
    return "".join(token.content for token in tokens(text) if token.type == "text")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("escape", [plain, code])
def test_text_stays_text(text: str, escape: object) -> None:
    """As a paragraph and in a cell of a table, which stays one cell."""
    written = plain(text) if escape is plain else code(text)
    for around in ("x {} x", "| a | b |\n|---|---|\n| {} | x |"):
        found = tokens(around.format(written))
        assert {token.content for token in found if token.type.startswith("html")} <= OURS
        assert {token.type for token in found} & {
            "em_open",
            "strong_open",
            "link_open",
            "image",
            "code_inline",
            "s_open",
            "heading_open",
        } == set()
        assert sum(token.type == "td_open" for token in found) in (0, 2)


def test_what_sites_act_on_is_broken_where_nobody_sees_it() -> None:
    written = plain(HOSTILE[3])
    for word in ("@someone", "#12", "GH-12", "https://e", "www.e"):
        assert word not in written
        assert word in shown(written)


def test_counts_findings_and_statements() -> None:
    text = document(*sorted((CAPTURES / "asyncpg").glob("[enp]*.pgtrace")), CAPTURES / "psycopg" / "failure.pgtrace")
    assert "| all |" in text
    assert "| asyncpg |" in text
    assert "| psycopg |" in text
    for words in ("### Findings", "- What: <code>", "- Why: ", "- Evidence: <code>", "- Remedy: ", "### Costliest statements"):
        assert words in text
    assert {token.content for token in tokens(text) if token.type.startswith("html")} <= OURS


def test_it_fits_into_a_comment() -> None:
    """GitHub takes 65,536 characters."""
    text = document(*sorted(CAPTURES.glob("*/[en]*.pgtrace")))
    assert len(text) < 65_536
    assert "more drivers." in text
    assert "more statements." in text


@pytest.mark.parametrize("sql", [one.replace("\n", " ").replace(" | ", " |") for one in HOSTILE])
def test_a_hostile_statement(sql: str, tmp_path: Path) -> None:
    path = tmp_path / "played.pgtrace"
    playbook.write(path, f"F Query select '{sql}'\nB ErrorResponse 42601 {sql} | ReadyForQuery I\nend")
    text = document(path)
    found = tokens(text)
    assert {token.content for token in found if token.type.startswith("html")} <= OURS
    assert {token.type for token in found} & {"em_open", "link_open", "image", "code_inline", "fence"} == set()


def test_an_empty_capture(tmp_path: Path) -> None:
    path = tmp_path / "played.pgtrace"
    playbook.write(path, "end")
    assert "nothing found." in document(path)
