"""Every recorded session, served to itself: what its driver sent is answered with what it got.

How the driver's bytes are cut makes no difference. Mutants of them never raise, and what they get
is their own recorded connection's, or ours.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgtrace.framing import Framer
from pgtrace.protocol import codes, startup
from pgtrace.protocol.codes import FRONTEND
from pgtrace.serve.mismatch import Mismatch
from pgtrace.serve.recording import Recording
from pgtrace.serve.replies import AwaitCancel, Copy
from pgtrace.serve.script import Script
from tests.corpus import NIGHTLY, in_turn, name
from tests.serve.served import Driver, Served, recording_of

MUTANTS = 200_000 if NIGHTLY else 2_000


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def bytes_one_by_one(data: bytes) -> Iterator[bytes]:
    yield from (data[at : at + 1] for at in range(len(data)))


def odd_pieces(data: bytes) -> Iterator[bytes]:
    yield from (data[at : at + 37] for at in range(0, len(data), 37))


WAYS = (whole, bytes_one_by_one, odd_pieces)
CASES = [(path, way) for path, ways in in_turn(WAYS) for way in ways]
Way = Callable[[bytes], Iterator[bytes]]


def sent(script: Script) -> bytes:
    """What the driver sent after its start-up."""
    data = script.requested.read(0, script.requested.length)
    framer, at = Framer(kept_bytes=0), 0
    for code, _, size in framer.feed(FRONTEND, data):
        if code >= codes.STARTUP_MESSAGE or code == ord("p"):
            at += size
    return data[at:]


def start(script: Script) -> bytes:
    return startup.StartupMessage(script.version, script.parameters).wire()


def played(driver: Driver, script: Script, pieces: Iterator[bytes]) -> bytes:
    """What comes back after start-up."""
    driver.session.receive(start(script))
    driver.read()
    return b"".join(heard(driver, pieces))


def heard(driver: Driver, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        driver.session.receive(piece)
        yield driver.read()
        while driver.session.replies.outputs and isinstance(driver.session.replies.outputs[0], AwaitCancel):
            driver.session.cancelled()
            yield driver.read()


def recorded(script: Script) -> bytes:
    """What came back after start-up."""
    if not len(script.steps):
        return b""
    first = next((step.reply for index in range(len(script.steps)) if (step := script.steps[index]).length), script.answered.length)
    return script.answered.read(first, script.answered.length - first)


@pytest.mark.parametrize(("path", "way"), CASES, ids=lambda value: name(value) if isinstance(value, Path) else value.__name__)
def test_a_session_is_served_to_itself(path: Path, way: Way) -> None:
    served = Served(recording_of(path))
    for script in served.recording.scripts:
        driver = served.socket()
        found = played(driver, script, way(sent(script)))
        assert [mismatch.lines() for mismatch in served.mismatches] == []
        assert found == recorded(script)
        driver.session.disconnected()
    assert (served.choice.left, served.choice.repeated) == (0, 0)


@pytest.mark.parametrize("path", [path for path, _ in CASES][:: 1 if NIGHTLY else 5], ids=name)
def test_a_session_is_served_to_itself_in_any_order(path: Path) -> None:
    served = Served(recording_of(path, False, True))
    for script in reversed(served.recording.scripts):
        driver = served.socket()
        played(driver, script, whole(sent(script)))
        assert [mismatch.lines() for mismatch in served.mismatches] == []


def mutants(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(changed) or 1)
        match chance.randrange(4):
            case 0:
                changed[at : at + 1] = chance.randbytes(1)
            case 1:
                del changed[at : at + chance.randrange(1, 40)]
            case 2:
                changed[at:at] = chance.randbytes(chance.randrange(1, 20))
            case _:
                begin = chance.randrange(len(changed) or 1)
                changed[at:at] = changed[begin : begin + chance.randrange(1, 200)]
    return bytes(changed)


def test_mutants_never_raise_and_hear_only_their_own(tmp_path: Path) -> None:
    """Each gets recorded bytes only of the one connection that it follows."""
    chance = random.Random(20)
    paths = [path for path, _ in CASES]
    each = 50
    for _ in range(MUTANTS // each):
        recording = recording_of(chance.choice(paths), chance.random() < 0.3, chance.random() < 0.3)
        served = Served(recording)
        for _ in range(each):
            script = chance.choice(recording.scripts)
            driver = served.socket()
            data = mutants(chance, (start(script) if chance.random() < 0.9 else b"") + sent(script))
            owners = set()
            for piece in chance.choice(WAYS[::2])(data):
                driver.session.receive(piece)
                owners |= {id(output.stream) for output in driver.session.replies.outputs if isinstance(output, Copy)}
                driver.read()
            driver.session.disconnected()
            assert len(owners) <= (1 if not recording.options.any_order else len(recording.scripts))
            _lines_of(served.mismatches, recording)
        recording.close()


def _lines_of(mismatches: list[Mismatch], recording: Recording) -> None:
    assert all(mismatch.lines() for mismatch in mismatches), recording.name
    mismatches.clear()
