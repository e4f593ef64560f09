"""Requests and answers on the inherited pipes: one JSON object per line, in order, without a port
or a file.

    {"do": "mark", "begin": true, "name": "checkout"}  -> {"mark": 1, "time_ns": ...}
    {"do": "set", "rtt_ns": 20000000}                  -> {"time_ns": ...}
    {"do": "flush"}                                    -> {"position": ..., "time_ns": ..., "write_error": ...}
    {"do": "stats"}                                    -> {"connections": ..., "accepted": ..., "lost_bytes": ..., ...}
    {"do": "stop"}                                     -> {"position": ...}, then the process ends

The first line in is the configuration (__main__.py), the first line out `{"ready": true, ...}` or
`{"error": ..., ...}`. A request may carry an `id`, which the answer repeats. The `write_error` of a
flush says what could not be written since the previous flush; it is null if everything was written.
The answer to an unknown or malformed request is an `error`, and the request changes nothing.

A mark and a flush wait for one more full turn of the event loop, so that bytes which the kernel
holds when the request arrives are read first. If the pipe ends without `stop`, that is not a
request to end: see __main__.py. If nobody reads an answer, it is dropped.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, ClassVar, Final

from pgtrace.capture.record import Mark
from pgtrace.proxy.server import Server
from pgtrace.proxy.tape import TICK_S, Tape
from pgtrace.proxy.writer_thread import WriterThread

TURNS: Final = 2
"""The number of callbacks after which the loop has polled its sockets once more, whatever it was
doing when the request arrived."""


class Control(asyncio.Protocol):
    """The reading end of the control pipe."""

    def __init__(
        self, server: Server, tape: Tape, writer: WriterThread, *, on_stop: Callable[[], None], on_lost: Callable[[], None]
    ) -> None:
        self._server = server
        self._tape = tape
        self._writer = writer
        self._on_stop = on_stop
        self._on_lost = on_lost
        self._partial: list[bytes] = []
        self._marks = Marks(tape)

    def data_received(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._partial, lines[0]])
            self._partial.clear()
        if rest:
            self._partial.append(rest)
        for line in lines:
            try:
                self._request(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                answer({"error": "request", "reason": f"{type(error).__name__}: {error}"})

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost()

    def _request(self, request: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        echo = {"id": request["id"]} if "id" in request else {}
        match request["do"]:
            case "mark":
                self.mark(bool(request["begin"]), str(request["name"]), lambda result: answer(result | echo))
            case "set":
                self._server.sessions.set_rtt(int(request["rtt_ns"]))
                answer({"time_ns": monotonic_ns()} | echo)
            case "flush":
                self._run_in_order(loop, lambda: self._flush(echo))
            case "stats":
                answer(self.stats() | echo)
            case "stop":
                self._on_stop()
            case other:
                raise ValueError(f"unknown request {other!r}")

    def mark(self, begin: bool, name: str, on_done: Callable[[dict[str, Any]], None]) -> None:
        """Begin or end a mark, and report its number once its place in the capture is fixed."""
        self._run_in_order(asyncio.get_running_loop(), lambda: on_done(self._mark(begin, name)))

    def _mark(self, begin: bool, name: str) -> dict[str, Any]:
        number = self._marks.mark(begin, name)
        return {"mark": number, "time_ns": monotonic_ns()} | ({} if number else {"open": self._marks.open})

    def _run_in_order(self, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
        """Run `action` once everything that the kernel holds now has been read, also from legs that
        wait for the disk."""
        pauses = self._server.sessions.pauses
        if not self._tape.waits:
            _after_turns(loop, TURNS, action)
            return
        unread = pauses.unread()

        def look() -> None:
            unread[:] = [(leg, offset) for leg, offset in unread if not pauses.is_read(leg, offset)]
            if unread and self._tape.holding:
                loop.call_later(TICK_S, look)
            elif unread:
                loop.call_soon(look)
            else:
                action()

        _after_turns(loop, TURNS, look)

    def _flush(self, echo: dict[str, Any]) -> None:
        now = monotonic_ns()
        self._tape.flush(lambda position: answer({"position": position, "time_ns": now, "write_error": self._take_failure()} | echo))

    def _take_failure(self) -> str | None:
        """What is wrong with the recording, or was wrong since the previous flush; None if
        nothing."""
        refused, self._tape.refused = self._tape.refused, None
        return self._writer.take_failure() or refused

    def stats(self) -> dict[str, Any]:
        """The recorder's own figures."""
        sessions, log = self._server.sessions, self._server.log
        return {
            "connections": len(sessions.running),
            "drivers": sessions.drivers,
            "accepted": sessions.accepted,
            "failures": log.failures,
            "lost_bytes": self._tape.lost_bytes + self._writer.lost_bytes,
            "lost_records": self._tape.lost_records + self._writer.lost_records,
            "waiting_bytes": self._tape.waiting_bytes,
            "write_error": self._writer.error,
            "upstream_error": log.upstream_error,
        }


class Marks:
    """The named intervals of a capture."""

    NAMES_LISTED: ClassVar[int] = 8

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._count = 0
        self._open: dict[str, list[int]] = {}

    @property
    def open(self) -> list[str]:
        """The names of the open marks, the latest first, at most NAMES_TOLD."""
        return [name for name, numbers in reversed(self._open.items()) if numbers][: self.NAMES_LISTED]

    def mark(self, begin: bool, name: str) -> int:
        """Begin or end an interval now and return its id. If you end one that is not open, this
        returns 0 and changes nothing."""
        if begin:
            self._count += 1
            self._open.setdefault(name, []).append(self._count)
            number = self._count
        else:
            number = self._open[name].pop() if self._open.get(name) else 0
        if number:
            self._tape.add(Mark(monotonic_ns(), begin, name, number))
        return number


def answer(line: dict[str, Any]) -> None:
    """Write one line to stdout. It is dropped if the parent is gone or does not read."""
    try:
        os.write(1, json.dumps(line).encode() + b"\n")
    except OSError:
        pass


def _after_turns(loop: asyncio.AbstractEventLoop, turns: int, action: Callable[[], None]) -> None:
    if turns:
        loop.call_soon(_after_turns, loop, turns - 1, action)
    else:
        action()
