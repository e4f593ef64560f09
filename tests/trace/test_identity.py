"""What a connection is known by when its own messages do not show its driver: its process, and the notes of its program."""

from __future__ import annotations

from pathlib import Path

from pgtrace.capture.record import CallSite
from pgtrace.identify.drivers import UNKNOWN
from tests import playbook
from tests.traces import fully_read

ASKS = "F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I"
LAYER = "\n".join(
    f"F Query {sql}\nB CommandComplete SELECT 1 | ReadyForQuery I"
    for sql in ("select pg_catalog.version()", "select current_schema()", "show standard_conforming_strings")
)
PREPARES = "F Parse _pg3_0 SELECT $1 | Sync\nB ParseComplete | ReadyForQuery I"
SETS = "F Query SET default_transaction_isolation TO 'serializable'\nB CommandComplete SET | ReadyForQuery I"


def session(number: int, *work: str, process: int | None = 4711, name: str = "", pid: int = 0, closes: bool = True) -> list[str]:
    """One connection of the script."""
    start = [
        "F SSLRequest\nraw B 4e",
        f"F StartupMessage user=app database=shop{f' application_name={name}' if name else ''}",
        f"B AuthenticationOk | BackendKeyData {pid or 100 + number} 7 | ReadyForQuery I",
    ]
    facts = [f"fact peer.process {process} python"] if process else []
    lines = "\n".join([*start, *facts, *work, *(["F Terminate\nclose F"] if closes else [])]).splitlines()
    return [f"c{number} {line}" for line in lines]


def drivers(path: Path, *sessions: list[str], notes: tuple[CallSite, ...] = ()) -> list[tuple[str, tuple[str, ...]]]:
    script = "\n".join(line for one in sessions for line in one)
    capture = path / "x.pgtrace"
    capture.unlink(missing_ok=True)
    trace = fully_read(playbook.write(capture, f"{script}\nend", notes=notes))
    found = [(one.driver, one.driver_evidence) for one in trace.connections]
    trace.close()
    return found


def test_a_layer_has_one_driver_for_connections_that_begin_alike(tmp_path: Path) -> None:
    (first, _), (second, evidence) = drivers(tmp_path, session(1, LAYER, PREPARES), session(2, ASKS))
    assert (first, second) == ("psycopg", "psycopg")
    assert evidence[0] == "c1 shows it: it is of the same process, began in the same way and has a layer above it"
    assert "statement names _pg3_<n>" in evidence


def test_another_process_or_another_beginning_shows_nothing(tmp_path: Path) -> None:
    others = [session(2, ASKS, process=4712), session(3, ASKS, process=None), session(4, ASKS, name="other")]
    found = drivers(tmp_path, session(1, LAYER, PREPARES), *others)
    assert [driver for driver, _ in found] == ["psycopg", UNKNOWN, UNKNOWN, UNKNOWN]


def test_without_a_layer_a_process_may_have_other_drivers(tmp_path: Path) -> None:
    assert [driver for driver, _ in drivers(tmp_path, session(1, PREPARES), session(2, ASKS))] == ["psycopg", UNKNOWN]


def test_two_drivers_of_a_process_that_begin_alike_show_nothing(tmp_path: Path) -> None:
    found = drivers(tmp_path, session(1, LAYER, PREPARES), session(2, SETS), session(3, ASKS))
    assert [driver for driver, _ in found] == ["psycopg", "psycopg2", UNKNOWN]


def test_the_notes_of_a_program_name_the_driver(tmp_path: Path) -> None:
    """Of the connection with that process id and port, whatever passed on it."""

    def noted(driver: int, pid: int, port: int = 0) -> CallSite:
        return CallSite(1, pid, port, 1, 0, 0, driver << 8, "shop.py", 1, "main")

    def found(*notes: CallSite) -> list[str]:
        return [driver for driver, _ in drivers(tmp_path, session(1, ASKS, process=None), session(2, PREPARES, process=None), notes=notes)]

    assert found(noted(3, 101)) == ["psycopg2", "psycopg"]
    assert found(noted(4, 101), noted(2, 102)) == ["pg8000", "psycopg"]
    assert found(noted(0, 101)) == [UNKNOWN, "psycopg"]
    assert found(noted(7, 101)) == [UNKNOWN, "psycopg"]
    assert found(noted(3, 101, port=1)) == [UNKNOWN, "psycopg"]
    assert drivers(tmp_path, session(1, ASKS, process=None), notes=(noted(1, 101),)) == [
        ("asyncpg", ("the program noted its call sites in this driver",))
    ]


def test_what_the_notes_say_holds_below_the_layer_of_the_process(tmp_path: Path) -> None:
    note = CallSite(1, 101, 0, 1, 0, 0, 3 << 8, "shop.py", 1, "main")
    assert [driver for driver, _ in drivers(tmp_path, session(1, LAYER, ASKS), session(2, ASKS), notes=(note,))] == ["psycopg2", "psycopg2"]
