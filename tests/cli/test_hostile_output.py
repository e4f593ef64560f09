"""Text that means harm, on the stdout and stderr of every command: nothing of it is obeyed by a
terminal, or by a log of continuous integration.

What a terminal obeys are characters (hostile.py has them wherever text can be). What a log of
GitHub Actions obeys are lines, read here as its runner does.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgtrace.cli import COMMANDS
from tests import commands
from tests.hostile import HARM, hostile
from tests.wire_recording import Recording, done, query, ready

COMMAND = re.compile(r"::[A-Za-z]|.*##\w*\[")
LINE = "::error::harm"
NAME = f"{LINE}{HARM.replace('/', '')}.pgtrace"
PLAIN = Path(__file__).parents[2] / "captures" / "asyncpg" / "ten_queries.pgtrace"
BUDGET = ("--max", "rows=0", "--max", "errors=0")
TEXT = [
    *(("stats", "--by", by, "-v") for by in ("driver", "connection", "statement", "mark", "label", "file")),
    ("stats", "--by", "tag.route"),
    *(("show", *options) for options in ((), ("--hex",), ("-v",))),
    ("advise",),
    ("stats", "--filter", f"not app:'{LINE}'"),
    *(("check", *BUDGET, "--by", by, "-v") for by in ("capture", "driver", "mark", "statement")),
    *(("check", *BUDGET, "--format", form) for form in ("junit", "markdown")),
    ("diff", str(PLAIN)),
    ("diff", "-v", str(PLAIN)),
    ("compare", str(PLAIN)),
    ("export", "--to", "markdown"),
]
JSON = [
    ("stats", "--json"),
    ("show", "--json"),
    ("advise", "--json"),
    ("check", *BUDGET, "--json"),
    ("diff", str(PLAIN), "--json"),
    ("compare", str(PLAIN), "--json"),
    ("export", "--to", "jsonl"),
]
WRONG = [
    ("stats", f"no{LINE}{HARM}"),
    ("stats", f"\n{LINE}{HARM}"),
    (f"{LINE}{HARM}",),
    ("stats", f"--{HARM}", "x"),
    ("stats", "--by", f"\n{LINE}{HARM}", "x"),
    ("show", "--filter", f"{HARM}::", NAME),
    ("check", "--max", f"{LINE}{HARM}=1", NAME),
    ("check", "--config", f"{HARM}", NAME),
    ("listen", f"{HARM}"),
    ("listen", "--upstream", f"\n{LINE}{HARM}"),
    ("run", "--no-last-option", HARM),
    ("import", "fields.jsonl", "-o", "x"),
    ("import", "message.jsonl", "-o", "x"),
    ("import", "golden.trace", "-o", "x"),
    ("export", "--to", "pqtrace", "--normalise", f"s/({HARM}/x/", NAME),
    ("import", NAME, "-o", NAME),
]
NEED_MORE = {"open", "serve", "replay", "mcp", "mark", "demo"}
"""Commands that need a screen (tui/test_tui_hostile.py), a driver, a server or an assistant. What they print is Shown, as mypy sees."""


def test_every_command_is_walked_through() -> None:
    assert set(COMMANDS) - {command[0] for command in (*TEXT, *JSON, *WRONG)} == NEED_MORE


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    recording = Recording(folder / NAME)
    recording.mark(LINE + HARM)
    for application in (LINE, "##[error]harm", "##vso[task.setvariable variable=x]y"):
        one = recording.connect("psycopg", application_name=application, user=application)
        recording.trip(one, query(f"{application}\n{LINE} {application}"), done(f"SELECT\n{LINE}") + ready())
    hostile(recording, 300_000)  # longer than all that is printed in one piece
    recording.mark(LINE + HARM, begin=False)
    recording.end()
    first = PLAIN.with_suffix(".trace").read_text("utf-8").splitlines()[0] if PLAIN.with_suffix(".trace").exists() else "F\t5\tQuery"
    folder.joinpath("golden.trace").write_text(f"{first}\n\n{LINE}{HARM}\n", "utf-8")
    head = {"schema": "pgtrace.jsonl/1", "wall_ns": 1, "monotonic_ns": 1, "pgtrace": "0", "host": HARM, "mark": "00", "version": [1, 0]}
    for name, about in (
        ("fields", {"message": "Query", "fields": {f"{LINE}{HARM}": 1, f"\n{LINE}": 2}}),
        ("message", {"message": f"{HARM}\n{LINE}"}),
    ):
        lines = [head, {"from": "F", "connection": 1, **about}]
        folder.joinpath(f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return folder


def pgtrace(place: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return commands.call(*arguments, text=False, cwd=place, env=os.environ | environment)


def obeyed(output: bytes) -> list[str]:
    """What a terminal or a log would obey of this output, outside of where commands are stopped."""
    text = output.decode("utf-8")
    found = [repr(one) for one in set(text) - {"\n"} if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    return [*found, *(line for line in text.split("\n") if COMMAND.match(line.lstrip()))]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("command", TEXT, ids=" ".join)
def test_text(place: Path, command: tuple[str, ...]) -> None:
    result = pgtrace(place, command[0], NAME, *command[1:])
    assert result.returncode in (0, 1), result.stderr
    assert len(result.stdout) > 100
    assert obeyed(result.stdout) == []
    assert obeyed(result.stderr) == []


@pytest.mark.sampled(2)
@pytest.mark.parametrize("command", JSON, ids=" ".join)
def test_json(place: Path, command: tuple[str, ...]) -> None:
    result = pgtrace(place, command[0], NAME, *command[1:])
    assert result.returncode in (0, 1), result.stderr
    assert obeyed(result.stdout) == []
    assert obeyed(result.stderr) == []
    lines = (
        result.stdout.decode().splitlines() if command in (("show", "--json"), ("export", "--to", "jsonl")) else [result.stdout.decode()]
    )
    assert any(HARM[:20] in value for line in lines for value in texts(json.loads(line)))


def texts(about: object) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(about, str):
        yield about
    elif isinstance(about, dict):
        for key, value in about.items():
            yield from (key, *texts(value))
    elif isinstance(about, list):
        for value in about:
            yield from texts(value)


@pytest.mark.parametrize("command", WRONG, ids=lambda command: ascii(" ".join(command))[:40])
def test_what_is_refused(place: Path, command: tuple[str, ...]) -> None:
    result = pgtrace(place, *command)
    assert result.returncode not in (0, 1), (result.stdout, result.stderr)
    assert result.stderr
    assert obeyed(result.stdout) == []
    assert obeyed(result.stderr) == []


def test_annotations_are_the_only_commands(place: Path) -> None:
    result = pgtrace(place, "check", NAME, *BUDGET, "--by", "mark", "--format", "github")
    lines = result.stdout.decode().splitlines()
    assert sum(line.startswith("::error title=pgtrace%3A ") for line in lines) == len(lines) - 1 > 0
    assert obeyed("\n".join(line.removeprefix("::error") for line in lines).encode()) == []


def as_the_runner_reads(output: bytes) -> list[str]:
    """The commands of GitHub Actions that a log of this output carries out."""
    stopped, found = None, []
    for line in re.split("\r\n|\r|\n", output.decode("utf-8", "replace")):
        line = line.lstrip()
        if stopped is not None:
            stopped = None if line == f"::{stopped}::" else stopped
        elif line.startswith("::stop-commands::"):
            stopped = line.removeprefix("::stop-commands::")
        elif COMMAND.match(line):
            found.append(line)
    return [*found, *(["stopped for good"] if stopped is not None else [])]


def test_an_export_is_no_command(place: Path, tmp_path: Path) -> None:
    """Exact in a file, wherever it is made; in a log between lines that switch commands off and on."""
    made = tmp_path / "made.trace"
    assert pgtrace(place, "export", "--to", "pqtrace", NAME, "-o", str(made), GITHUB_ACTIONS="true").returncode == 0
    assert as_the_runner_reads(made.read_bytes())
    assert pgtrace(place, "export", "--to", "pqtrace", NAME, GITHUB_ACTIONS="").stdout == made.read_bytes()
    logged = [pgtrace(place, "export", "--to", "pqtrace", NAME, GITHUB_ACTIONS="true").stdout for _ in range(2)]
    assert [as_the_runner_reads(one) for one in logged] == [[], []]
    assert logged[0] != logged[1]
    assert b"".join(logged[0].splitlines(keepends=True)[1:-1]) == made.read_bytes()
    redirected = tmp_path / "redirected.trace"
    with redirected.open("wb") as file:
        commands.run("export", "--to", "pqtrace", NAME, cwd=place, stdout=file, env=os.environ | {"GITHUB_ACTIONS": "true"})
    assert redirected.read_bytes() == made.read_bytes()


@pytest.mark.parametrize("system", ["TF_BUILD", "TEAMCITY_VERSION"])
def test_an_export_is_escaped_where_no_line_stops_commands(place: Path, system: str) -> None:
    plain = pgtrace(place, "export", "--to", "pqtrace", NAME, GITHUB_ACTIONS="").stdout
    logged = pgtrace(place, "export", "--to", "pqtrace", NAME, GITHUB_ACTIONS="", **{system: "1"}).stdout
    assert b"##vso[" in plain
    assert as_the_runner_reads(logged) == []
    assert len(logged.splitlines()) == len(plain.splitlines())


@pytest.mark.parametrize("system", ["GITHUB_ACTIONS", "TF_BUILD"])
def test_an_export_without_commands_is_the_same_in_a_log(place: Path, system: str) -> None:
    plain = pgtrace(place, "export", "--to", "pqtrace", str(PLAIN), GITHUB_ACTIONS="")
    assert plain.stdout
    assert pgtrace(place, "export", "--to", "pqtrace", str(PLAIN), **{"GITHUB_ACTIONS": "", system: "true"}).stdout == plain.stdout


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "command", [("stats", "--json"), ("show", "--json"), ("export", "--to", "jsonl"), ("diff", str(PLAIN))], ids=" ".join
)
def test_on_a_terminal(place: Path, command: tuple[str, ...]) -> None:
    """JSON is the same bytes there; a text differs from that in a pipe by nothing but colours."""
    piped = pgtrace(place, command[0], NAME, *command[1:]).stdout
    reader, terminal = pty.openpty()
    given = {"stdin": subprocess.DEVNULL, "stdout": terminal, "stderr": subprocess.DEVNULL}
    with commands.Command(command[0], NAME, *command[1:], cwd=place, env=os.environ | {"NO_COLOR": "1"}, **given):
        os.close(terminal)
        shown = bytearray()
        try:
            while some := os.read(reader, 1 << 16):
                shown += some
        except OSError:  # the other end is closed
            pass
    os.close(reader)
    assert shown == piped.replace(b"\n", b"\r\n")
