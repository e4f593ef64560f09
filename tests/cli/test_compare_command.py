"""`pgtrace compare`: programs in turns, captures that exist, exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgtrace.cli import _run, root
from pgtrace.cli.compare import _measured
from pgtrace.cli.turns import Program, names
from pgtrace.compare.variants import Variant
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.pooler import find_pgbouncer, led_elsewhere
from pgtrace.demo.scene import prepare, run_variants
from pgtrace.demo.workloads import VARIANTS
from pgtrace.demo.workloads.common import Target
from pgtrace.errors import UsageError
from pgtrace.recorder import Recorder
from pgtrace.report.comparison import forms
from pgtrace.trace.trace import Trace
from tests import commands, playbook
from tests.schemas import valid

PGTRACE = commands.FRESH
WORK = """
import os, sys
os.environ.pop("PGSSLMODE", None)  # the demo has none, so its drivers ask for TLS
from pgtrace.demo.workloads import VARIANTS
from pgtrace.demo.workloads.common import Target
one = next(one for one in VARIANTS if one.name == sys.argv[1])
one.load()(Target(os.environ["PGHOST"], int(os.environ["PGPORT"]), *(os.environ[name] for name in ("PGUSER", "PGPASSWORD", "PGDATABASE"))))
"""
RTT = "20ms"
"""Counts of a driver that does not wait are stable where the answer is not there at once."""
COMPARED = ("setup_round_trips", "round_trips", "executions", "parses_named", "parses_unnamed", "values_binary", "params_text", "errors")


@pytest.fixture(scope="module")
def shop() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        prepare(server)
        yield server


def compare(shop: EmbeddedServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PGTRACE, "compare", *arguments],
        env={**os.environ, **shop.environment(), "DATABASE_URL": shop.url()},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def demo_table(shop: EmbeddedServer, labels: list[str]) -> dict[str, dict[str, Any]]:
    """The counters of the demo's table for these variants."""
    with Recorder("127.0.0.1:0", f"{shop.host}:{shop.port}", rtt=RTT) as recorder:
        target = Target(recorder.host, recorder.port, shop.user, shop.password, shop.database)
        run_variants(target, recorder.mark, variants=tuple(one for one in VARIANTS if one.name in labels))
        trace = Trace.open([recorder.capture])
        recorder.quiet(trace)
        found = {name: counters.as_dict() for name, counters in trace.mark_counters().items()}
        trace.close()
    return found


@pytest.mark.live
def test_the_counts_of_the_demo_are_those_of_its_table(shop: EmbeddedServer, tmp_path: Path) -> None:
    work = tmp_path / "work.py"
    work.write_text(WORK)
    labels = ["asyncpg", "psycopg text", "psycopg2", "pg8000"]
    programs = [f"{label}={sys.executable} {work} '{label}'" for label in labels]
    kept, page = tmp_path / "kept", tmp_path / "page.html"
    ran = compare(shop, "--repeat", "1", "--rtt", RTT, "-w", str(kept), "-o", str(page), "--json", *programs)
    assert ran.returncode == 0, ran.stderr
    told = valid("compare", ran.stdout)
    assert told["complete"]
    table = demo_table(shop, labels)
    seen = {one["label"]: one["turns"][0]["counters"] for one in told["variants"]}
    for label in labels:
        assert {key: seen[label][key] for key in COMPARED} == {key: table[label][key] for key in COMPARED}
    assert [one["drivers"] for one in told["variants"]] == [["asyncpg"], ["psycopg"], ["psycopg2"], ["pg8000"]]
    assert all(one["direct_ms"]["turns"] == one["through_ms"]["turns"] == 1 for one in told["variants"])
    # the control run has no distance: it takes longer than the direct one by less than 100 round trips and more of that distance
    added_ms = told["variants"][3]["through_ms"]["median"] - told["variants"][3]["direct_ms"]["median"]
    assert added_ms < 0.8 * 20 * seen["pg8000"]["round_trips"]
    assert all(label in page.read_text() for label in labels)
    assert sorted(path.name for path in kept.iterdir()) == ["asyncpg.pgtrace", "pg8000.pgtrace", "psycopg-text.pgtrace", "psycopg2.pgtrace"]
    for one in told["variants"]:
        for key in ("statements_reused", "transactions", "parses_unnamed"):
            wanted, path = shlex.split(one["numbers"][key]["command"])[-2:]
            stats = subprocess.run([*PGTRACE, "stats", "--json", "--filter", wanted, path], capture_output=True, check=True, timeout=60)
            shown = subprocess.run([*PGTRACE, "show", "--json", "--filter", wanted, path], capture_output=True, check=True, timeout=60)
            counted = json.loads(stats.stdout)["totals"]
            assert counted[key] == one["numbers"][key]["median"]
            assert counted["round_trips"] + counted["setup_round_trips"] == len(shown.stdout.splitlines()) <= counted[key]
    again = json.loads(compare(shop, "--json", *map(str, sorted(kept.iterdir()))).stdout)
    numbers = {one["label"]: one["numbers"]["round_trips"]["median"] for one in told["variants"]}
    assert {one["label"]: one["numbers"]["round_trips"]["median"] for one in again["variants"]} == numbers


QUERIES = "import os, psycopg; c = psycopg.connect(os.environ['DATABASE_URL'], autocommit=True); [c.execute('select 1') for _ in range({})]"


@pytest.mark.live
def test_turns_distances_and_units(shop: EmbeddedServer) -> None:
    program = f'{sys.executable} -c "{QUERIES.format(10)}"'
    ran = compare(shop, "--repeat", "2", "--rtt", "0ms,20ms", "--units", "10", "--concurrency", "2", "--json", f"one={program}")
    assert ran.returncode == 0, ran.stderr
    told = valid("compare", ran.stdout)
    (one,) = told["variants"]
    # 20 queries and, once for each of two connections, the preparation that psycopg makes of the sixth
    assert one["numbers"]["executions"]["median"] == 2
    assert one["numbers"]["connections"]["median"] == 2
    assert [distance["rtt_ns"] for distance in one["distances"]] == [0, 20_000_000]
    far = one["distances"][1]
    assert far["measured_ms"]["median"] >= far["round_trips"] * 20
    assert far["measured_ms"]["turns"] == 2
    assert "turn 2 of 2 at 20ms: one" in ran.stderr
    assert one["turns"][0]["file"] is None


@pytest.mark.live
def test_a_program_that_fails(shop: EmbeddedServer) -> None:
    ran = compare(
        shop, "--repeat", "2", "--json", f'good={sys.executable} -c "{QUERIES.format(1)}"', f"bad={sys.executable} -c 'raise SystemExit(7)'"
    )
    assert ran.returncode == 1
    told = valid("compare", ran.stdout)
    assert {one["label"]: len(one["turns"]) for one in told["variants"]} == {"good": 2, "bad": 1}
    assert "bad: turn 1 ended with exit code 7" in ran.stderr


@pytest.mark.live
def test_ctrl_c_ends_the_programs_and_leaves_nothing(shop: EmbeddedServer, tmp_path: Path) -> None:
    began, home = tmp_path / "began", tmp_path / "home"
    home.mkdir()
    script = f"import pathlib, time; pathlib.Path({str(began)!r}).touch(); time.sleep(60)"
    process = subprocess.Popen(
        [*PGTRACE, "compare", "-w", str(tmp_path / "kept"), f'slow={sys.executable} -c "{script}"'],
        env={**os.environ, **shop.environment(), "TMPDIR": str(home), "XDG_RUNTIME_DIR": str(home)},
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not began.exists() and time.monotonic() < deadline:
        time.sleep(0.02)  # for the program itself
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130, error
    assert not list(home.iterdir())
    assert error.rstrip().endswith(f"pgtrace: interrupted; the captures of the finished turns are in {tmp_path / 'kept'}")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["slow.1.pgtrace"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "neither a capture nor LABEL=CMD"),
        (["a=true", "a=true"], "the same label"),
        (["a b=true", "a-b=true"], "the same file name"),
        (["-o", "x.txt", "a=true"], ".html"),
        (["--rtt", "1ms,fast", "a=true"], "is not a duration"),
        (["--units", "0", "a=true"], "0 is not a number of units"),
        (["--units", "-1", "a=true"], "-1 is not a number of units"),
        (["--units", "1.5", "a=true"], "1.5 is not a number of units"),
        (["-w", __file__, "a=true"], "is a file: name a directory"),
        (["a='true"], "no closing quotation"),
    ],
)
def test_wrong_uses(arguments: list[str], says: str) -> None:
    ran = commands.call("compare", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert says in ran.stderr


def test_captures_and_programs_cannot_be_mixed(tmp_path: Path) -> None:
    (tmp_path / "a.pgtrace").touch()
    ran = commands.call("compare", tmp_path / "a.pgtrace", "a=true")
    assert (ran.returncode, "cannot be mixed" in ran.stderr) == (2, True)


@pytest.mark.parametrize("option", ["--rtt=1ms", "--repeat=2", "--concurrency=2", "-w=x", "--redact=all", "--upstream=embedded"])
def test_what_is_for_programs_is_refused_with_captures(tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str) -> None:
    """It would be ignored in silence."""
    name, _, value = option.partition("=")
    assert _run(root, ["compare", name, value, marked(tmp_path / "a.pgtrace", "a")]) == 2
    told = capfd.readouterr()
    assert (told.out, f"{name} is for programs, not for captures" in told.err) == ("", True)


def test_captures_that_are_there_are_seen_before_anything_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Even if the last turn would write it."""
    (tmp_path / "b.3.pgtrace").touch()
    assert _run(root, ["compare", "--upstream", "embedded", "-w", str(tmp_path), "a=true", "b=true"]) == 2
    assert capfd.readouterr().err == f"pgtrace: {tmp_path}/b.3.pgtrace already exists: choose another name or remove it\n"


def marked(path: Path, *marks: str) -> str:
    """A capture with a round trip in each of these marks."""
    inside = [f"mark begin {mark}\nF Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\nmark end {mark}" for mark in marks]
    return str(playbook.write(path, "\n".join([*inside, "end"])))


def test_marks_that_are_and_are_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, other = marked(tmp_path / "one.pgtrace", "a", "b"), marked(tmp_path / "other.pgtrace", "b", "a", "c")
    assert _run(root, ["compare", one, other]) == 0
    assert "choose one of the marks 'a', 'b', or say" in capfd.readouterr().out
    assert _run(root, ["compare", "--units", "c", one, other]) == 1
    told = capfd.readouterr()
    assert "pgtrace: one: no mark is called 'c'; it has 'a', 'b'\n" in told.err
    assert "A unit of work is one 'c' (a mark): 0 to 1 in a turn." in told.out
    assert re.search(r"^  elapsed +· +\d", told.out, re.MULTILINE)


def test_a_mark_that_is_missing_is_said_once_for_a_variant(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its captures may be temporary, so their names say nothing."""
    paths = [(label, marked(tmp_path / f"{label}.{number}.pgtrace", "a")) for label in ("x", "y") for number in range(3)]
    paths.append(("y", marked(tmp_path / "y.3.pgtrace", "unit")))
    _measured([Variant("x"), Variant("y")], paths, "unit", quiet=False)
    assert capfd.readouterr().err.splitlines() == [
        "pgtrace: x: no mark is called 'unit'; it has 'a'",
        "pgtrace: y: no mark is called 'unit' in 3 of 4 turns; it has 'a'",
    ]


def test_a_failed_turn_says_nothing_of_the_others(tmp_path: Path) -> None:
    """It has no mark and no statement: that is not a difference. The other turns count as always."""
    good = [marked(tmp_path / f"{number}.pgtrace", "unit") for number in (1, 2)]
    bad = str(playbook.write(tmp_path / "bad.pgtrace", "F Query SELECT 9\nB ErrorResponse 42P01 gone | ReadyForQuery I\nend"))
    variants = [Variant("bad", failures=["turn 1 ended with exit code 7"]), Variant("good"), Variant("half", failures=["turn 2 ended"])]
    paths = [("bad", bad), ("good", good[0]), ("half", good[1]), ("half", bad)]
    found = _measured(variants, paths, None, {bad}, quiet=True)
    assert (found.unit, found.first, found.changes) == ("unit", "good", {"half": []})
    assert [(one.label, [turn.units for turn in one.turns]) for one in found.variants] == [("bad", [0]), ("good", [1]), ("half", [1])]
    for lines in (forms.as_text(found), forms.as_markdown(found)):
        text = "\n".join(lines)
        assert "bad: turn 1 ended with exit code 7" in text
        assert "half, against good" in text
        assert "against bad" not in text
    assert not found.is_complete


def test_names_of_captures() -> None:
    program = Program("a b", ("true",))
    assert set(names([program], [0], 1).values()) == {"a-b.pgtrace"}
    assert set(names([program], [0, 1_500_000], 2).values()) == {
        "a-b.0ms.1.pgtrace",
        "a-b.0ms.2.pgtrace",
        "a-b.1.5ms.1.pgtrace",
        "a-b.1.5ms.2.pgtrace",
    }
    with pytest.raises(UsageError):
        names([program, Program("a/b", ("true",))], [0], 1)


INI = """
[databases]
; a comment = host=nowhere
app = dbname=postgres host=nowhere port=1
* = host='no where' port=1 user={user} password={password}
[pgbouncer]
listen_addr = 192.0.2.1
listen_port = 6432
auth_type = any
pool_mode = transaction
"""


def test_an_ini_is_led_elsewhere() -> None:
    lines = led_elsewhere(INI.format(user="me", password="x"), 7000, "127.0.0.1", 7001, "user=login").splitlines()
    assert "; a comment = host=nowhere" in lines
    assert "app = host=127.0.0.1 port=7001 dbname=postgres user=login" in lines
    assert "* = host=127.0.0.1 port=7001 user=me password=x" in lines
    assert [line for line in lines if line.startswith("listen")] == ["listen_addr = 127.0.0.1", "listen_port = 7000"]
    assert "pool_mode = transaction" in lines


@pytest.mark.live
@pytest.mark.skipif(find_pgbouncer() is None, reason="PgBouncer is not installed")
def test_behind_a_pooler_the_drivers_side_counts(shop: EmbeddedServer, tmp_path: Path) -> None:
    ini, kept = tmp_path / "pgbouncer.ini", tmp_path / "kept"
    ini.write_text(INI.format(user=shop.user, password=shop.password))
    program = f'{sys.executable} -c "{QUERIES.format(3)}"'
    ran = compare(shop, "--behind", str(ini), "--repeat", "1", "-w", str(kept), "--json", f"one={program}")
    assert ran.returncode == 0, ran.stderr
    (one,) = valid("compare", ran.stdout)["variants"]
    assert (one["numbers"]["executions"]["median"], one["numbers"]["connections"]["median"]) == (3, 1)
    assert one["direct_ms"]["turns"] == 1
    told = json.loads(subprocess.check_output([*PGTRACE, "stats", "--json", str(kept / "one.pgtrace")], timeout=60))
    assert (told["joins"]["joined"], told["joins"]["unjoined"]) == (3, 0)
    assert one["turns"][0]["joins"] == told["joins"]
    assert one["numbers"]["pooler_joined"]["median"] == 3
    text = compare(shop, str(kept / "one.pgtrace")).stdout
    assert re.search(r"^In the pooler, for a whole turn\n.*one\n.*reached a server +3$", text, re.MULTILINE)


def test_behind_goes_with_one_distance(tmp_path: Path) -> None:
    (tmp_path / "x.ini").touch()
    ran = commands.call("compare", "--behind", tmp_path / "x.ini", "--rtt", "0ms,1ms", "a=true")
    assert (ran.returncode, "a single --rtt" in ran.stderr) == (2, True)
