"""docs/drivers.md against the code's lists and the captures: every driver and layer has a section, and what is quoted there has passed."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import pytest

from pgtrace.identify import drivers, layers
from tests.traces import fully_read

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "drivers.md").read_text(encoding="utf-8")
CAPTURES = ROOT / "captures"
DRIVERS = [driver.name for driver in drivers.DRIVERS]
LAYERS = [*layers.BY_NAME]
CODE = re.compile(r"`([^`\n]+)`")
FLIGHT = re.compile(r"[PBDESHQCFdcf×0-9 ]*[PBDESHQCFdcf](?:×\d+)?[PBDESHQCFdcf×0-9 ]*")
SCENARIOS = ("one_query", "ten_queries", "executemany")
BEGINNINGS = {"SSL": "SSLRequest", "Start": "StartupMessage"}


def section(name: str) -> str:
    found = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no section"
    return found[1]


def table(title: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section(title).splitlines() if line.startswith("| [")]


def captures(name: str) -> list[Path]:
    """A driver's own and those of layers above it, or a layer's over all its drivers."""
    return sorted(path for path in CAPTURES.glob("*/*.pgtrace") if name in path.parent.name.split("+"))


@functools.cache
def flights(path: Path) -> frozenset[str]:
    """What was sent in each of its rows."""
    trace = fully_read(path)
    found = {trace.rows[place].shape.sent_flight for place in range(len(trace.rows))}
    trace.close()
    return frozenset(found)


def quoted(text: str) -> set[str]:
    """The flights in a text, but for those of a point that says of itself that they are not in the captures."""
    text = "".join(point for point in re.split(r"^- ", text, flags=re.MULTILINE) if not point.startswith("Not in the captures: "))
    return {flight for span in CODE.findall(text) for flight in span.split(" · ") if FLIGHT.fullmatch(flight) and not flight.isdecimal()}


def round_trips(name: str) -> str:
    """Of the scenarios, as the tables have them."""
    files = [CAPTURES / name / f"{scenario}.json" for scenario in SCENARIOS]
    return ", ".join(str(json.loads(file.read_text("utf-8"))["round_trips"]) if file.exists() else "none" for file in files)


@pytest.mark.parametrize("name", [*DRIVERS, *LAYERS])
def test_it_has_a_section_and_what_is_quoted_there_has_passed(name: str) -> None:
    text = section(name)
    assert "Seen with " in text
    assert "- Evidence: " in text
    assert 6 <= len(text.strip().splitlines()) <= 36
    files = captures(name)
    if files:
        assert quoted(text) <= frozenset().union(*(flights(path) for path in files))


def name_of(row: list[str]) -> str:
    """A table's first cell as the captures' directory is called."""
    return re.sub(r"\[(.+)\]\(#.+\)(?: over (.+))?", lambda found: "+".join(filter(None, found.groups())), row[0])


def test_the_tables_have_a_line_for_each() -> None:
    assert sorted(map(name_of, table("Drivers at a glance"))) == sorted(DRIVERS)
    assert sorted(map(name_of, table("Layers at a glance"))) == sorted(path.name for path in CAPTURES.iterdir() if "+" in path.name)


@pytest.mark.parametrize("row", table("Drivers at a glance"), ids=lambda row: row[0])
def test_a_drivers_line_is_what_its_captures_hold(row: list[str]) -> None:
    _, beginning, parameters, names, query, figures = row
    name = name_of(row)
    trace = fully_read(CAPTURES / name / "ten_queries.pgtrace")
    first = trace.rows[0].shape.sent_flight
    session = next(connection for connection in trace.connections if connection.kind == "session")
    sent = [parameter for parameter, _ in session.startup_parameters]
    statements = {statement for view in trace.statements() for statement in view.group.as_dict("")["names"] if statement}
    trace.close()
    assert beginning == BEGINNINGS[first]
    assert CODE.findall(parameters) == sent
    pattern = "".join(CODE.findall(names)).replace("<hex>", "[0-9a-f]+").replace("<n>", "[0-9]+")
    assert {bool(re.fullmatch(pattern, statement)) for statement in statements} == ({True} if pattern else set())
    assert quoted(query) <= flights(CAPTURES / name / "ten_queries.pgtrace")
    assert figures == round_trips(name)


@pytest.mark.parametrize("row", table("Layers at a glance"), ids=lambda row: row[0])
def test_a_layers_line_is_what_its_captures_hold(row: list[str]) -> None:
    assert row[1] == round_trips(name_of(row))
