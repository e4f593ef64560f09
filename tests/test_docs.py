"""The documents say what the product does: figures, commands, options, columns, links and paths.

docs/counting.md has its examples in two kinds of fenced blocks. `trace` is a playbook
(playbook.py), an empty line, the flights of its round trips, and `path = JSON` lines: paths into
`stats --json`, a bare name standing for one in `totals`. `sequences` are reads in letters and their
round trips, as the session's own table has them. Both are played through the real session and
analysis, so an example with a wrong figure fails here.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from pgtrace.cli import COMMANDS, root
from pgtrace.demo.workloads import VARIANTS
from pgtrace.protocol import codes
from pgtrace.report import messages, stats
from pgtrace.trace.counters import KEYS
from pgtrace.trace.groups import StatementGroup
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace
from tests import playbook
from tests.session import letters

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/SKILL.md")])
COUNTING = (ROOT / "docs" / "counting.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.compile(r"`+([^`\n]+)`+")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n|\n(?= {4}))+")


def spans(page: str) -> list[str]:
    """The code in sentences and tables."""
    return CODE.findall(INDENTED.sub("", FENCE.sub("", page)))


def quoted(page: str) -> list[str]:
    """The lines of code in blocks, fenced or indented."""
    parts = [text for _, text in FENCE.findall(page)] + INDENTED.findall(FENCE.sub("", page))
    return [line.strip() for text in parts for line in text.splitlines()]


def blocks(page: str, kind: str) -> list[tuple[int, str]]:
    """The fenced blocks of a kind: line, text."""
    return [(page.count("\n", 0, found.start()) + 1, found[2]) for found in FENCE.finditer(page) if found[1] == kind]


# The figures of docs/counting.md.


class Example(NamedTuple):
    line: int
    script: str
    flights: str
    figures: dict[str, Any]
    """Path -> value."""


def examples() -> Iterator[Example]:
    for line, text in blocks(COUNTING, "trace"):
        script, _, said = text.partition("\n\n")
        flights, *figures = said.strip().splitlines()
        pairs = [figure.partition(" = ") for figure in figures]
        yield Example(line, script, flights, {path: json.loads(value) for path, _, value in pairs})


EXAMPLES = list(examples())
SEQUENCES = [line for _, text in blocks(COUNTING, "sequences") for line in text.splitlines()]


def played(script: str, path: Path) -> tuple[Trace, dict[str, Any]]:
    """A playbook as a trace, and its `stats --json`."""
    trace = Trace.open([playbook.write(path, script)])
    while trace.update():
        pass
    return trace, stats.as_dict(trace)


def looked_up(told: dict[str, Any], path: str) -> Any:
    """`statements[0].rows`, or a counter of the totals."""
    value: Any = told
    for step in re.findall(r"\w+", path if path not in KEYS else f"totals.{path}"):
        value = value[int(step)] if step.isdecimal() else value[step]
    return value


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"line {example.line}")
def test_the_figures_of_an_example(example: Example, tmp_path: Path) -> None:
    trace, told = played(example.script, tmp_path / "example.pgtrace")
    rows = [trace.rows[place].shape for place in range(len(trace.rows))]
    trace.close()
    kinds = (RowKind.ROUND_TRIP, RowKind.SETUP) if "StartupMessage" in example.script else (RowKind.ROUND_TRIP,)
    flights = " · ".join(row.flight for row in rows if row.kind in kinds)
    assert {"flights": flights, **{path: looked_up(told, path) for path in example.figures}} == {
        "flights": example.flights,
        **example.figures,
    }


@pytest.mark.parametrize("line", SEQUENCES)
def test_the_round_trips_of_a_sequence(line: str) -> None:
    sequence, number = re.fullmatch(r"([>< \S]+?)\s+(\d)\s{3}\S.*", line).groups()  # type: ignore[union-attr]
    session = letters.play(sequence)
    if sequence.endswith(" closed"):
        session.close(10**9)
    assert (session.tally.round_trips, session.tally.setup_round_trips) == (int(number), 1)


# Everything that is counted is defined.


def section(title: str) -> str:
    """A part of docs/counting.md: what stands under a heading, up to the next of its rank or above."""
    found = re.search(rf"^(#+) {re.escape(title)}\n", COUNTING, re.MULTILINE)
    assert found, title
    return re.split(rf"^#{{1,{len(found[1])}}} ", COUNTING[found.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def defined(text: str) -> set[str]:
    """The names in the first cells of a text's tables."""
    return {name for cell in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for name in CODE.findall(cell)}


def shown(prefix: str) -> set[str]:
    """The keys below `prefix[n]` that some example has a figure for."""
    paths = [path for example in EXAMPLES for path in example.figures]
    return {found[1] for path in paths if (found := re.match(rf"{prefix}(?:\[\d+\])?\.(\w+)", path))}


def test_every_counter_is_defined_has_an_example_and_stands_in_the_index() -> None:
    counters = section("Counters")
    index, _, definitions = counters.partition("\n## ")
    assert set(KEYS) <= defined(definitions)
    assert set(KEYS) == set(CODE.findall("".join(line for line in index.splitlines(True) if line.startswith("|"))))
    assert set(KEYS) <= {path for example in EXAMPLES for path in example.figures}


def test_every_other_field_is_defined_and_has_an_example(tmp_path: Path) -> None:
    trace, told = played(EXAMPLES[0].script + "\nmark begin a\nsetting label a", tmp_path / "a.pgtrace")
    trace.close()
    assert set(StatementGroup("", "").as_dict("")) == defined(section("Statements")) == shown("statements")
    for title, key in (("Connections", "connections"), ("The capture", "capture")):
        fields = set(told[key][0] if key == "connections" else told[key]) - set(KEYS) - {"times"}
        assert fields == defined(section(title))
        assert fields - {"file", "files"} <= shown(key)
    for title, key in (("Drivers", "drivers"), ("Marks", "marks"), ("Labels", "labels")):
        fields = set(told[key][0]) - set(KEYS) - {"times"}
        assert fields <= set(CODE.findall(section(title)))
        assert fields <= shown(key)
    assert set(told["times"]) == defined(section("Times"))
    assert set(told["times"]) <= shown("times")
    assert set(told) == {"schema", "times", "capture", "totals", "drivers", "connections", "statements", "marks", "labels", "legs", "joins"}
    assert f'"schema": "{told["schema"]}"' in COUNTING


def test_every_field_of_a_row_is_defined(tmp_path: Path) -> None:
    trace, _ = played(EXAMPLES[0].script, tmp_path / "a.pgtrace")
    *_, row = messages.rows_as_json(trace, range(len(trace.rows)))
    trace.close()
    text = section("Rows of the timeline")
    assert set(row) == defined(text)
    assert set(row["messages"][0]) | {kind.name.lower() for kind in RowKind} <= set(CODE.findall(text))


def test_every_column_of_a_table_is_defined(tmp_path: Path) -> None:
    trace, _ = played(EXAMPLES[0].script + "\nmark begin a", tmp_path / "a.pgtrace")
    columns = {column for by in ("driver", "mark", "statement") for column in heads(trace, by)}
    trace.close()
    assert columns - {"driver", "mark", "SQL"} <= defined(section("Short names")) - {"ms"}


def heads(trace: Trace, by: str) -> list[str]:
    """The column heads of `stats`."""
    return re.split(r" {2,}", list(stats.as_text(trace, by))[2].strip())


def test_every_letter_stands_for_its_messages() -> None:
    rows = re.findall(r"^\| ((?:`\w` ?)+)\| (.*?) ?\| (.*?) ?\|$", section("Letters"), re.MULTILINE)
    for side in (codes.FRONTEND, codes.BACKEND):
        told = {letter: cells[side] for cell, *cells in rows for letter in CODE.findall(cell) if cells[side]}
        names = {chr(code): name for code, name in codes.NAMES[side].items() if code < 256}
        assert set(told) == set(names)
        assert all(name in told[letter] for letter, name in names.items())


# Commands, options, tables, links and paths of all pages.


class Line(NamedTuple):
    page: str
    text: str
    whole: bool
    """In a block, to be copied; in a sentence `pgtrace stats --json` may leave out what it is about."""


def command_lines() -> Iterator[Line]:
    """Commands of pgtrace on all pages, without what they are piped into."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for whole, code in ((True, quoted(text)), (False, spans(text))):
            for part in (part.strip() for line in code for part in re.split(r"[|&;]+ ", line.partition("  #")[0])):
                if re.match(r"pgtrace [a-z-]", part):
                    yield Line(page.name, part, whole)


LINES = sorted(set(command_lines()))


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.page} {line.text}")
def test_a_command_line_is_one(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As click takes it apart; nothing is executed. A run was kept before."""
    (tmp_path / "pgtrace" / "last" / "capture").mkdir(parents=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with click.Context(root, info_name="pgtrace") as context:
        try:
            name, command, rest = root.resolve_command(context, shlex.split(line.text)[1:])
            assert command
            command.make_context(name, rest, parent=context)
        except click.UsageError as error:
            if line.whole or not isinstance(error, click.MissingParameter):
                pytest.fail(error.format_message())


def test_every_command_is_in_the_list_of_commands() -> None:
    rows = re.findall(r"^\| `pgtrace (\w+)", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == list(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_in_a_sentence_exists(page: Path) -> None:
    context = click.Context(root)
    commands = [root, *(root.get_command(context, name) for name in COMMANDS)]
    known = {option for command in commands if command for parameter in command.get_params(context) for option in parameter.opts}
    known |= set(re.findall(r"--pgtrace-[a-z-]+", (ROOT / "pgtrace" / "testing" / "pytest_plugin.py").read_text(encoding="utf-8")))
    found = re.findall(r"(?<![\w-])--[a-z][\w-]*", " ".join(spans(page.read_text(encoding="utf-8"))))
    assert set(found) <= known


def test_the_table_of_the_readme_is_that_of_the_demo(tmp_path: Path) -> None:
    """Its columns and its rows; the figures are those of one run."""
    trace, _ = played("mark begin a", tmp_path / "a.pgtrace")
    columns = heads(trace, "mark")
    trace.close()
    head, *rows = README.split("<!-- demo -->")[1].strip("`\n").splitlines()
    assert re.split(r" {2,}", head) == columns
    assert [re.split(r" {2,}", row)[0] for row in rows] == [variant.name for variant in VARIANTS]
    assert {len(re.split(r" {2,}", row)) for row in rows} == {len(columns)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), target


def anchors(page: str) -> set[str]:
    """The headings of a page as GitHub makes links of them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md", "README.md"])
def test_paths_and_make_targets_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = {span for span in spans(text) if re.fullmatch(r"(tests|docs|pgtrace)/\w+|\w[\w./<>-]*(/|\.(py|md|toml|svg))", span)}
    assert paths or page == "README.md"
    for path in paths:
        known = path.partition("<")[0].rpartition("/")[0] if "<" in path else path
        assert (ROOT / known).exists() or (ROOT / "pgtrace" / known).exists(), path
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", "\n".join(spans(text) + quoted(text)), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_layers_of_the_architecture_are_packages() -> None:
    picture = INDENTED.findall((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))[0]
    layers = re.findall(r"\b(\w+)/", picture)
    assert len(layers) > 4
    for name in layers:
        assert (ROOT / "pgtrace" / name / "__init__.py").exists(), name
