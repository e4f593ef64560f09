"""Notes are read as they were made, whatever else is in their directory."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.callsites import PROGRAM
from pgtrace.callsites.notes import SLOT, WHOLE, Notes, Site
from pgtrace.proxy import callsites

ODD = "fi\tle\\x\ny.py"


def written(directory: Path, name: str, slots: bytes, sites: bytes = b"") -> None:
    (directory / f"{name}.notes").write_bytes(slots)
    (directory / f"{name}.sites").write_bytes(sites)


def slot(number: int, time_ns: int = 5, site: int = 1) -> bytes:
    return SLOT.pack(time_ns, zlib.crc32(b"select 1"), WHOLE, site, 4711, 40112, 0, number)


def test_new_notes_are_read_once_and_half_a_note_later(tmp_path: Path) -> None:
    written(tmp_path, "7-a-0", slot(1, 9) + bytes(SLOT.size * 3), b"1\t41\tapp/orders.py\tlist_orders\n")
    notes = Notes(str(tmp_path))
    (first,) = notes.read()
    assert (first.time_ns, first.backend_pid, first.port, first.site) == (9, 4711, 40112, Site("app/orders.py", 41, "list_orders"))
    assert notes.read() == []
    whole = slot(1, 9) + slot(2, 3, 2)
    written(tmp_path, "7-a-0", whole[:-4] + bytes(4) + bytes(SLOT.size), b"1\t41\tapp/orders.py\tlist_orders\n")
    assert notes.read() == []
    with (tmp_path / "7-a-0.notes").open("r+b") as file:
        file.write(whole)
    with (tmp_path / "7-a-0.sites").open("ab") as file:
        file.write(b"2\t7\tfi\\tle\\\\x\\ny.py\tf\n")
    (second,) = notes.read()
    assert second.site == Site(ODD, 7, "f")
    assert notes.processes == {7}
    notes.close()


@pytest.mark.parametrize("unfinished", [[1], [0, 2, 3], [5, 1, 4], list(range(9))])
def test_a_note_that_is_not_finished_does_not_hold_up_later_ones(tmp_path: Path, unfinished: list[int]) -> None:
    """A thread that has its slot may wait while others write theirs."""
    sites = b"1\t41\tapp/orders.py\tlist_orders\n"
    slots = [bytes(SLOT.size) if number in unfinished else slot(number + 1, number) for number in range(10)]
    written(tmp_path, "7-a-0", b"".join(slots) + bytes(SLOT.size * 9), sites)
    notes = Notes(str(tmp_path))
    assert [note.time_ns for note in notes.read()] == [number for number in range(10) if number not in unfinished]
    for number in unfinished:
        slots[number] = slot(number + 1, number)
        written(tmp_path, "7-a-0", b"".join(slots) + slot(11, 10), sites)
        assert number in [note.time_ns for note in notes.read()]
    assert notes.read() == []
    notes.close()


def test_of_notes_that_are_never_finished_only_some_are_looked_at(tmp_path: Path) -> None:
    written(tmp_path, "7-a-0", b"".join(slot(2 * number + 1) + bytes(SLOT.size) for number in range(5_000)))
    notes = Notes(str(tmp_path))
    assert len(notes.read()) == 5_000
    assert notes.read() == []
    notes.close()


class Clock:
    def __init__(self, *times: int) -> None:
        self.times = list(times)

    def __call__(self) -> int:
        return self.times.pop(0)


def test_notes_made_while_notes_are_read_keep_their_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal texts the time says which is whose."""
    written(tmp_path, "7-a-0", b"".join(slot(number, time_ns) for number, time_ns in enumerate((3, 11, 12, 13, 99), 1)))
    monkeypatch.setattr(callsites, "monotonic_ns", Clock(10, 20, 30, 40))
    sites = callsites.CallSites(str(tmp_path))
    assert [one.time_ns for one in sites.read()] == [3, 11, 12, 13, 20]
    written(tmp_path, "7-a-0", b"".join(slot(number, time_ns) for number, time_ns in enumerate((3, 11, 12, 13, 99, 4, 25), 1)))
    assert [one.time_ns for one in sites.read()] == [20, 25]


@given(slots=st.binary(max_size=200), sites=st.binary(max_size=200))
def test_whatever_is_there_is_read_without_an_error(tmp_path_factory: pytest.TempPathFactory, slots: bytes, sites: bytes) -> None:
    directory = tmp_path_factory.mktemp("notes")
    written(directory, "7-a-0", slots + slot(1) + slots, sites)
    written(directory, "8-a-0", slot(1) + slots, sites)
    notes = Notes(str(directory))
    found = notes.read()
    assert any(note.backend_pid == 4711 for note in found)
    notes.close()


def test_what_is_no_file_of_ours_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(slot(1))
    notes_in = tmp_path / "notes"
    notes_in.mkdir()
    (notes_in / "7-a-0.notes").symlink_to(elsewhere)
    os.mkfifo(notes_in / "8-a-0.notes")
    (notes_in / "9-a-0.notes").mkdir()
    (notes_in / "x.notes").write_bytes(slot(1))
    notes = Notes(str(notes_in))
    assert notes.read() == []
    assert Notes(str(tmp_path / "nowhere")).read() == []


@pytest.mark.parametrize("hidden", ["PYTHONPATH", "site-packages"])
def test_the_sitecustomize_that_is_hidden_runs(tmp_path: Path, hidden: str) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.hidden_ran = True\n")
    path = os.pathsep.join([str(PROGRAM), *([str(tmp_path)] if hidden == "PYTHONPATH" else [])])
    program = "import sys; print(getattr(sys, 'hidden_ran', False), 'pgtrace' in sys.modules)"
    if hidden == "site-packages":
        program = f"import site; site.addsitedir({str(tmp_path)!r}); import sys; sys.hidden_ran = True; " + program
    found = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["True", "False"]


def test_a_program_that_cannot_note_runs_all_the_same(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM), "PGTRACE_CALL_SITES": str(tmp_path / "nowhere")}
    program = (
        "import sys, asyncpg, psycopg, psycopg2, pg8000; from _pgtrace_callsites import note; note(None, 'select 1', None); print('ran')"
    )
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert (found.stdout, found.stderr) == ("ran\n", "")


@pytest.mark.parametrize("pid", [4711, 2**31 - 1, -(2**31), -1628540907, -1])
def test_a_process_id_may_be_any_that_a_pooler_draws(pid: int, tmp_path: Path) -> None:
    """BackendKeyData's process id is an Int32, and PgBouncer draws all of its bits; asyncpg and libpq take it for a signed number."""
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM), "PGTRACE_CALL_SITES": str(tmp_path)}
    program = f"""
from _pgtrace_callsites import _Key, _begin, note
def hook():
    note(_Key(40112, {pid}, lambda sender: True), "select 1", None)
_begin()
hook()
"""
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    notes = Notes(str(tmp_path))
    assert [(one.backend_pid, one.port) for one in notes.read()] == [(pid % 2**32, 40112)]
    notes.close()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot take the room at once")
def test_a_disk_that_is_full_costs_the_notes_and_not_the_program(tmp_path: Path) -> None:
    """Writing into the map of a file with holes would end the program with SIGBUS."""
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM), "PGTRACE_CALL_SITES": str(tmp_path)}
    program = """
import os, sys
from _pgtrace_callsites import _Key, _begin, note
def full(*_):
    raise OSError(28, "No space left on device")
if sys.argv[1] == "full":
    os.posix_fallocate = full
def hook():
    note(_Key(40112, 1, lambda sender: True), "select 1", None)
_begin()
hook()
print("ran")
"""
    for disk, found in (("full", []), ("empty", [True])):
        ended = subprocess.run([sys.executable, "-c", program, disk], env=environment, capture_output=True, text=True, check=True)
        assert (ended.stdout, ended.stderr) == ("ran\n", "")
        assert [path.stat().st_blocks * 512 >= path.stat().st_size > 0 for path in tmp_path.glob("*.n*")] == found
