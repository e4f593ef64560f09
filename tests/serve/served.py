"""A recording from a script, and drivers' bytes played to it without sockets."""

from __future__ import annotations

from pathlib import Path

from pgtrace.framing import Framer
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.serve.anyorder import Units
from pgtrace.serve.choice import Choice
from pgtrace.serve.mismatch import Mismatch
from pgtrace.serve.recording import Recording
from pgtrace.serve.replies import AwaitCancel, Copy, End, Pause, Send
from pgtrace.serve.requests import Options
from pgtrace.serve.scram import Verifier
from pgtrace.serve.session import Keys, Session
from tests.playbook import wire, write

START = "StartupMessage user=app database=shop"


def recording_of(path: Path, *options: bool) -> Recording:
    """A capture, read to its end."""
    recording = Recording(str(path), path.name, Options(*options))
    while recording.step():
        pass
    return recording


class Served:
    """A recording and what drivers do with it."""

    def __init__(self, recording: Recording, verifier: Verifier | None = None) -> None:
        self.recording = recording
        self.choice = Choice(recording)
        self.keys = Keys()
        self.mismatches: list[Mismatch] = []
        self.repeated: list[int] = []
        self.refused: list[str] = []
        self._verifier = verifier
        self._units = Units(recording) if recording.options.any_order else None
        self._number = 0

    @classmethod
    def script(cls, path: Path, script: str, *options: bool) -> Served:
        return cls(recording_of(write(path / "recorded.pgtrace", script), *options))

    def connect(self, start: str = START) -> Driver:
        """A driver after its start-up."""
        driver = self.socket()
        driver.says(start)
        return driver

    def socket(self) -> Driver:
        """A driver that has said nothing yet."""
        self._number += 1
        return Driver(self, self._number)

    def session(self, number: int) -> Session:
        return Session(
            number,
            self.recording,
            self.choice,
            self.keys,
            units=self._units,
            verifier=self._verifier,
            on_mismatch=self.mismatches.append,
            on_repeat=self.repeated.append,
            on_refused=self.refused.append,
        )


class Driver:
    """One driver's side."""

    def __init__(self, served: Served, number: int) -> None:
        self.session = served.session(number)
        self.closed = ""
        """"FIN" or "RST" once the server has closed."""
        self.pauses: list[int] = []
        self.key = b""
        self._framer = Framer.typed()

    def says(self, *lines: str) -> str:
        """Send messages; the answer in letters."""
        return self.sends(b"".join(wire(FRONTEND, line) for line in lines))

    def sends(self, data: bytes) -> str:
        self.session.receive(data)
        return self.heard()

    def heard(self) -> str:
        """The letters of what has come."""
        return "".join(chr(code) if code < 256 else "?" for code, _, _ in self.frames())

    def frames(self) -> list[tuple[int, bytes, int]]:
        """The messages that have come."""
        data = self.read()
        if data[:1] == b"N" and len(data) == 1:
            return [(ord("N"), b"", 1)]
        found = self._framer.feed(BACKEND, data)
        for code, body, _ in found:
            if code == ord("K"):
                self.key = body
        assert all(code != codes.OPAQUE for code, _, _ in found)
        return found

    def read(self) -> bytes:
        """The bytes that have come."""
        outputs = self.session.replies.outputs
        parts: list[bytes] = []
        while outputs:
            output = outputs[0]
            if isinstance(output, AwaitCancel):
                if not self.session.cancel_received:
                    break
                self.session.cancel_received = False
            elif isinstance(output, Send):
                parts.append(output.data)
            elif isinstance(output, Copy):
                parts.append(output.stream.read(output.offset, output.size))
            elif isinstance(output, Pause):
                self.pauses.append(output.ns)
            elif isinstance(output, End):
                self.closed = "RST" if output.reset else "FIN"
            outputs.popleft()
        return b"".join(parts)
