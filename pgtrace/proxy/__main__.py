"""The recorder process: `python -m pgtrace.proxy`. recorder.py starts it, with pipes as its stdin
and stdout.

The first line of stdin is the configuration. The first line of stdout says `ready` with the
addresses, or names the error. The process runs in a session of its own, so Ctrl-C, Ctrl-Z and a
hang-up reach only the parent. It ends in one of two ways:

- `stop` closes every session, writes everything and ends. Nothing else closes sessions.
- The control pipe closes without `stop` (the parent crashed, was killed, or closed its terminal),
  or SIGTERM arrives. Then it accepts no new connections, forwards and records until the last
  session has ended, removes a temporary capture and ends. A second SIGTERM works like `stop`.

It imports neither textual nor click nor the bodies of messages, so it starts quickly and stays
small (tests/test_recorder.py).
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import signal
import sys
import warnings
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from pgtrace.address import Leg
from pgtrace.behind import WAIT
from pgtrace.capture.record import LABEL, End, Setting
from pgtrace.certificates import DriverTls
from pgtrace.errors import PgTraceError
from pgtrace.exposure import Served
from pgtrace.faults import Rule
from pgtrace.proxy.control import Control, answer
from pgtrace.proxy.pauses import Pauses
from pgtrace.proxy.server import Server
from pgtrace.proxy.tape import TICK_S, Tape
from pgtrace.proxy.writer_thread import Writer, WriterThread

if TYPE_CHECKING:
    from pgtrace.capture.hiding import Hiding
    from pgtrace.proxy.callsites import CallSites

SWITCH_INTERVAL_S: Final = 0.001
"""How long the writer thread may keep the event loop from a socket that is ready."""
LAST_WRITE_S: Final = 5.0
"""How long a disk that accepts no data may keep the process from ending."""


class Process:
    """The configured recorder."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.legs = [(Leg.of(leg), Served(leg["served"])) for leg in settings["legs"]]
        self.tls = DriverTls(**settings["tls"])
        self.rtt_ns = int(settings["rtt_ns"])
        self.allow_others = bool(settings["allow_others"])
        self.dial_first = bool(settings["dial_first"])
        self.waits = settings.get("when_behind") == WAIT
        self.faults = [Rule(**rule) for rule in settings["faults"]]
        self.path = Path(settings["path"])
        self.keep_bytes: int | None = settings["keep_bytes"]
        self.temporary: str | None = settings["temporary"]
        self.call_sites_in: str | None = settings["call_sites"]
        self.redact: list[str] = settings["redact"]
        self.startup_timeout_s = float(settings["startup_timeout_s"])
        self.row_bytes: int | None = settings["row_bytes"]
        self.label: str | None = settings.get("label")
        self.marks_at: str | None = settings.get("marks_at")
        self._draining = False
        self._stopped: asyncio.Event

    def capture(self) -> Writer:
        """Create the capture."""
        if self.keep_bytes is None:
            from pgtrace.capture.writer import CaptureWriter

            return CaptureWriter(self.path)
        from pgtrace.capture.segments import SegmentWriter

        return SegmentWriter(self.path, self.keep_bytes)

    def hiding(self, tape: Tape) -> Hiding | None:
        """What to leave out of the capture; None if you asked for nothing. The capture records this
        choice."""
        if not self.redact and self.row_bytes is None:
            return None
        from pgtrace.capture.hiding import Hiding

        hiding = Hiding(os.urandom(32), self.redact, self.row_bytes)
        tape.add(Setting(monotonic_ns(), "redact", ",".join(sorted(hiding.chosen))))
        tape.add(Setting(monotonic_ns(), "max_row_bytes", "" if self.row_bytes is None else str(self.row_bytes)))
        return hiding

    def call_sites(self) -> CallSites | None:
        """Where the program notes its lines of code; None if it does not."""
        if self.call_sites_in is None:
            return None
        from pgtrace.proxy.callsites import CallSites

        return CallSites(self.call_sites_in)

    async def run(self, asked: bytes) -> None:
        """Record until `stop`, or until the last session has ended. `asked` is what has been read
        of the requests already."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: server.log.failed(context.get("exception") or RuntimeError(context["message"])))
        self._stopped = asyncio.Event()
        tape = Tape(
            loop.call_soon_threadsafe,
            os.urandom(32),
            lambda text: server.log.warn(text),  # noqa: PLW0108 (the server comes later)
            waits=self.waits,
        )
        server = Server(
            self.legs,
            tape,
            tls=self.tls,
            rtt_ns=self.rtt_ns,
            allow_others=self.allow_others,
            faults=self.faults,
            dial_first=self.dial_first,
            startup_timeout_s=self.startup_timeout_s,
        )
        await server.start()
        try:
            writer = WriterThread(self.capture(), self.hiding(tape), server.log.warn, self.call_sites())
        except BaseException:
            server.stop_listening()
            raise
        tape.writer = writer
        if self.label is not None:
            tape.add(Setting(monotonic_ns(), LABEL, self.label))
        drain = lambda: self._drain(server)  # noqa: E731
        control = Control(server, tape, writer, on_stop=self._stopped.set, on_lost=drain)
        if self.marks_at is not None:
            from pgtrace.proxy import mark_socket

            self._takes_marks = await mark_socket.listen(
                self.marks_at, [one for listener in server.listeners for one in listener.addresses], control.mark
            )
        control.data_received(asked)
        await loop.connect_read_pipe(lambda: control, sys.stdin)
        loop.add_signal_handler(signal.SIGTERM, drain)
        for ignored in (signal.SIGHUP, signal.SIGPIPE, signal.SIGINT):
            signal.signal(ignored, signal.SIG_IGN)
        self._tick(loop, tape, server.sessions.pauses)
        gc.collect()
        gc.freeze()
        answer(
            {
                "ready": True,
                "legs": [{"addresses": listener.addresses, "port": listener.port} for listener in server.listeners],
                "fits": server.sessions.fits,
                "capture": str(self.path),
            }
        )
        await self._stopped.wait()
        server.stop_listening()
        server.sessions.close()
        await asyncio.sleep(0)
        await self._end(loop, tape, writer)

    def _tick(self, loop: asyncio.AbstractEventLoop, tape: Tape, pauses: Pauses) -> None:
        pauses.tick()
        tape.tick()
        loop.call_later(TICK_S, self._tick, loop, tape, pauses)

    def _drain(self, server: Server) -> None:
        """No requests can arrive any more: end with the last session."""
        if self._draining:
            self._stopped.set()
            return
        self._draining = True
        server.stop_listening()
        self._last = asyncio.get_running_loop().create_task(self._wait_for_last(server))

    async def _wait_for_last(self, server: Server) -> None:
        await server.sessions.idle.wait()
        self._stopped.set()

    async def _end(self, loop: asyncio.AbstractEventLoop, tape: Tape, writer: WriterThread) -> None:
        """Write everything, as far as the disk accepts it."""
        tape.add(End(monotonic_ns()))
        written: asyncio.Future[int] = loop.create_future()
        tape.flush(lambda position: None if written.cancelled() else written.set_result(position))
        before = -1
        # Wait as long as the disk accepts data.
        while not written.done() and before != (before := writer.position):
            await asyncio.wait([written], timeout=LAST_WRITE_S)
        if written.done():
            writer.finish(LAST_WRITE_S)
            answer({"position": written.result(), "write_error": writer.error})
        else:
            answer({"error": "write", "reason": "the capture's disk does not answer"})
        if self.temporary is not None and self._draining:
            shutil.rmtree(self.temporary, ignore_errors=True)


def main() -> None:
    """Read the configuration, run, and end the process with all its threads."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # PYTHONWARNINGS is meant for the traced program. If it turns warnings into errors, uvloop
    # hangs.
    warnings.simplefilter("ignore")
    # A parent that does not read must not stop the loop, so answers are dropped.
    os.set_blocking(1, False)
    _raise_file_limit()
    try:
        settings, asked = _first_line()
        process = Process(json.loads(settings))
        import uvloop

        uvloop.run(process.run(asked))
    except PgTraceError as error:
        answer({"error": type(error).__name__, "text": str(error), "fields": vars(error)})
    sys.stdout.flush()
    os._exit(0)  # a writer that hangs on its disk must not keep the process alive


def _first_line() -> tuple[bytes, bytes]:
    """The configuration, and what came together with it of the requests after it."""
    read = b""
    while b"\n" not in read and (data := os.read(0, 1 << 16)):
        read += data
    line, _, asked = read.partition(b"\n")
    return line, asked


def _raise_file_limit() -> None:
    """Raise the limit on open files to what the system allows: a session needs two sockets."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass  # macOS refuses more than OPEN_MAX; keep the present limit


if __name__ == "__main__":
    main()
