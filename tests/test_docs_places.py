"""Where things are, as CONTRIBUTING.md and docs/architecture.md say it: every path is there, what
is listed somewhere is listed where they say, and a read goes the way that the walk describes.

The table "to add, write, and list it in" is held row by row: everything of that kind in its room is
in the list, the list is an assignment in the named file, and what uses it sees the same. A row that
is new in the table fails until its check is here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import keyword
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType, ModuleType

import click
import pytest

from pgtrace.ask.filter import facts, words
from pgtrace.cli import COMMANDS, root
from pgtrace.cli import stats as stats_command
from pgtrace.demo.workloads import VARIANTS
from pgtrace.identify import drivers, layers
from pgtrace.identify.drivers.client import Client
from pgtrace.judge import findings
from pgtrace.judge.findings.kind import Kind
from pgtrace.protocol import backend, frontend, registry
from pgtrace.protocol.message import Message
from pgtrace.report import stats as stats_report
from pgtrace.trace.counters import KEYS
from pgtrace.trace.times import keys_of
from pgtrace.trace.trace import Trace
from pgtrace.tui.model import keys
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.theme import DARK, Pen
from pgtrace.tui.model.view import View
from pgtrace.tui.panes import tabs
from pgtrace.tui.widgets.base import ListWidget
from tests.test_docs import spans
from tests.wire_recording import Recording, done, query, ready

ROOT = Path(__file__).parent.parent
PAGES = ("CONTRIBUTING.md", "docs/architecture.md")
PLACE = re.compile(r"(?:[\w.<>*-]+/)+(?:[\w.<>*-]+)?|[\w<>-]+\.(?:py|md|toml|tcss)")
"""What is a path among the code of a page: it has a slash, or the ending of a file."""
MADE_LATER = (".pg/", ".venv/")
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def places(text: str) -> list[str]:
    """The paths in the code of a text."""
    found = (one.partition("::")[0] for one in spans(text))
    return [one for one in found if PLACE.fullmatch(one) and not one.startswith(MADE_LATER)]


def at(place: str) -> list[Path]:
    """What is there: from the root of the repository, or of the package. `<driver>` stands for any name."""
    pattern = re.sub(r"<\w+>", "*", place).rstrip("/")
    return [found for base in (ROOT, ROOT / "pgtrace", ROOT / "docs") for found in base.glob(pattern)]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "place"), [(page, place) for page in PAGES for place in dict.fromkeys(places(read(page)))])
def test_what_a_page_names_is_there(page: str, place: str) -> None:
    assert at(place), f"{page} names {place}, and nothing is there"


def test_paths_are_found_in_a_page() -> None:
    text = (
        "`a/b.py`, `python -m pytest tests/x.py`, `c/<driver>.py` and `d.py`; `e/f/`, `::error::`, `a | b`, `tests/x.py::test`\n"
        "\n    `g/h.py`\n"
    )
    assert places(text) == ["a/b.py", "c/<driver>.py", "d.py", "e/f/", "tests/x.py"]
    assert at("identify/drivers/<driver>.py")
    assert not at("identify/drivers/<driver>.txt")


# The table.


def table() -> dict[str, tuple[str, str]]:
    """What to add -> what to write, what to list it in."""
    part = read("CONTRIBUTING.md").partition("| to add |")[2].partition("\n\n")[0]
    return {
        what.partition(":")[0].partition(",")[0]: (write, list_in) for what, write, list_in in ROW.findall(part) if not what.startswith("-")
    }


TABLE = table()


def modules(room: ModuleType) -> Iterator[ModuleType]:
    """The modules of a package."""
    for path in sorted(Path(str(room.__file__)).parent.glob("*.py")):
        if path.stem != "__init__":
            yield importlib.import_module(f"{room.__name__}.{path.stem}")


def held(room: ModuleType, kind: type) -> dict[int, str]:
    """Everything of a kind that the modules of a room make at their top: id -> where."""
    return {
        id(value): f"{module.__name__}.{name}"
        for module in modules(room)
        for name, value in vars(module).items()
        if isinstance(value, kind) and name.isupper()
    }


def assigned(path: Path, name: str) -> ast.Tuple:
    """The tuple that a file assigns to a name at its top."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            assert isinstance(node.value, ast.Tuple), f"{name} in {path} is no list of its own"
            return node.value
    raise AssertionError(f"{path} has no {name}")


def listed(place: str, name: str, used: tuple[object, ...]) -> None:
    """The list in that file is the one that is used."""
    (path,) = at(place)
    assert len(assigned(path, name).elts) == len(used)


def in_list(rooms: tuple[ModuleType, str], kind: type, *lists: str) -> None:
    """All of a kind in a room are in its lists, once."""
    room, place = rooms
    every = held(room, kind)
    there = [one for name in lists for one in getattr(room, name)]
    assert sorted(every.get(id(one), repr(one)) for one in there) == sorted(every.values())
    for name in lists:
        listed(place, name, getattr(room, name))


def messages() -> None:
    for module in (frontend, backend):
        side = {
            value
            for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, Message) and value.__module__ == module.__name__
        }
        wire = {one for one in side if one.__name__ not in ("BindHead",)}  # the beginning of a Bind, for one whose body is cut
        assert wire <= set(module.MESSAGES)
        assert set(module.MESSAGES) <= set(registry.MESSAGES)
        listed(f"protocol/{module.__name__.rpartition('.')[2]}.py", "MESSAGES", module.MESSAGES)


def the_drivers() -> None:
    in_list((drivers, "identify/drivers/__init__.py"), Client, "DRIVERS", "POOLERS")


def the_layers() -> None:
    in_list((layers, "identify/layers/__init__.py"), Client, "LAYERS")


def commands() -> None:
    from pgtrace import cli

    found = {module.__name__.rpartition(".")[2] for module in modules(cli) if isinstance(vars(module).get("command"), click.Command)}
    assert found == {f"{name}_" if keyword.iskeyword(name) else name for name in COMMANDS}
    assert list(COMMANDS) == root.list_commands(click.Context(root))
    listed("cli/__init__.py", "COMMANDS", COMMANDS)


def panes() -> None:
    from pgtrace.tui import panes as room

    found = {
        value
        for module in modules(room)
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, ListWidget)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    }
    assert {pane.widget for pane in tabs.PANES} == found
    assert {pane.name for pane in tabs.PANES} <= {word for row in keys.KEYS for word in re.findall(r"\w+", repr(row).lower())}
    listed("tui/panes/tabs.py", "PANES", tabs.PANES)


def variants() -> None:
    from pgtrace.demo import workloads

    tree = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in Path(str(workloads.__file__)).parent.glob("with_*.py")}
    found = {
        (name, node.name)
        for name, module in tree.items()
        for node in module.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("work")
    }
    assert {(variant.module, variant.work) for variant in VARIANTS} == found
    listed("demo/workloads/__init__.py", "VARIANTS", VARIANTS)


def the_findings() -> None:
    in_list((findings, "judge/findings/__init__.py"), Kind, "KINDS")
    where = held(findings, Kind)
    alone = {kind.name: where[id(kind)].split(".")[-2] for kind in findings.KINDS if where[id(kind)].endswith(".KIND")}
    assert alone == {name: "n_plus_one" if name == "n+1" else name.replace("-", "_") for name in alone}, "named after its kind"
    sections = re.findall(r"^## (\S+)$", read("docs/findings.md"), re.MULTILINE)
    assert {kind.name for kind in findings.KINDS} <= set(sections)


def filter_words() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \|", read("docs/filter.md"), re.MULTILINE)
    assert list(words.WORDS) == rows
    assert words.WORDS.keys() - {words.KEYED[words.COUNT]} == {*facts.TEXTS, *facts.NUMBERS}


def groupings() -> None:
    named, counted = stats_command._BY, stats_report._COUNTED_BY
    assert set(counted) < set(named)
    with closing(Trace.open([])) as trace:
        assert all(keys_of(trace, word) for word in counted)
        with pytest.raises(KeyError):
            keys_of(trace, "a grouping that is not there")


def counters() -> None:
    page = read("docs/counting.md")
    figures = {
        name
        for block in re.findall(r"^```trace\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        for name in re.findall(r"^(\w+) = ", block, re.MULTILINE)
    }
    assert set(KEYS) <= set(re.findall(r"`(\w+)`", page))
    assert set(KEYS) <= figures, "a counter has an example"


CHECKS: dict[str, Callable[[], None]] = {
    "a message": messages,
    "a driver": the_drivers,
    "a layer above a driver": the_layers,
    "a command": commands,
    "a pane": panes,
    "a variant of the demo": variants,
    "a finding": the_findings,
    "a word of the filter language": filter_words,
    "a grouping of `stats`": groupings,
    "a counter": counters,
}


def test_every_row_of_the_table_is_checked() -> None:
    assert TABLE.keys() == CHECKS.keys()


@pytest.mark.parametrize("what", TABLE)
def test_what_is_added_there_is_listed_there(what: str) -> None:
    for cell in TABLE[what]:
        for place in places(cell):
            assert at(place), f"to add {what}: {place} is not there"
    CHECKS[what]()


def test_a_list_that_is_no_list_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "room.py"
    path.write_text("KINDS: Final = tuple(found())\n")
    with pytest.raises(AssertionError, match="no list of its own"):
        assigned(path, "KINDS")
    with pytest.raises(AssertionError, match="has no OTHERS"):
        assigned(path, "OTHERS")


# The walk.


WALK = re.findall(r"^\| \d+ \| `([^`]+)` \|", read("docs/architecture.md"), re.MULTILINE)
"""The files of "One read, from the socket to the screen", in order."""


def entered(work: Callable[[], object]) -> list[str]:
    """The files of the package in which functions are called meanwhile, in order."""
    found: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT / "pgtrace"):
            found.append(path.relative_to(ROOT / "pgtrace").as_posix())

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def in_order(steps: list[str], files: list[str]) -> bool:
    """Whether the files are entered one after the other, whatever else is entered in between."""
    rest = iter(files)
    return all(step in rest for step in steps)


def test_a_read_goes_through_the_files_of_the_walk_in_order(tmp_path: Path) -> None:
    """From the capture to the lines of the timeline: the read that answers a Query."""
    recording = Recording(tmp_path / "a.pgtrace")
    connection = recording.connect()
    recording.flush()
    with closing(Trace.open([recording.path])) as trace:
        view = View(trace, Source(live=False), Pen(DARK))
        recording.send(connection, query("SELECT 'the 58 bytes'"))
        recording.flush()
        view.reading.tick(0.0)
        recording.answer(connection, done("SELECT 1") + ready())
        recording.flush()
        files = entered(lambda: view.reading.tick(1.0))
        assert view.trace.rows[len(view.trace.rows) - 1].label.sql == "SELECT 'the 58 bytes'"
    steps = WALK[WALK.index("capture/reader.py") : WALK.index("tui/model/listing.py") + 1]
    assert len(steps) == 10
    assert in_order(steps, files)
    for place in range(steps.index("session/events.py")):  # what comes later, one file does for another
        steps[place], steps[place + 1] = steps[place + 1], steps[place]
        assert not in_order(steps, files), "the walk in another order is no walk"
        steps[place], steps[place + 1] = steps[place + 1], steps[place]
