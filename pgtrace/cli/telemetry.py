"""`listen --otlp`: sends round trips to a collector while they are recorded.

A separate process reads the growing capture and sends (export/otlp.py, export/collector.py), so
neither the traffic nor the screen waits for a collector. It gets its instructions on standard
input, and ends when that is closed: by `listen`, or because `listen` has died. At its end it writes
figures as JSON on standard output.
"""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import click

from pgtrace import sanitise
from pgtrace.cli import output
from pgtrace.cli.options import F
from pgtrace.cli.recorder_options import Duration
from pgtrace.export import collector
from pgtrace.recorder import Recorder

_TURN_S: Final = 0.25
_METRICS_EVERY_S: Final = 10.0
_READ_FOR_S: Final = 1.0
SENDS_WITHIN_S: Final = 5.0
"""How long it may still send after the end of the recording."""
_NICE: Final = 10


class CollectorUrl(click.ParamType[str]):
    """`http://collector:4318`. The value is the same text."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        collector.target(value)
        return str(value)


class _Ratio(click.FloatRange):
    """A number from 0 to 1, not `nan`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        ratio = super().convert(value, param, ctx)
        if math.isnan(ratio):
            self.fail(f"{value!r} is not a number from 0 to 1", param, ctx)
        return float(ratio)


def exporting(command: F) -> F:
    """The options that send spans and metrics to a collector."""
    for option in reversed(
        (
            click.option(
                "--otlp",
                metavar="URL",
                type=CollectorUrl(),
                help="Send spans and metrics to this OpenTelemetry collector: http://host:4318.",
            ),
            click.option(
                "--otlp-ratio",
                metavar="RATIO",
                type=_Ratio(0, 1),
                default=1.0,
                help="Send this fraction of the round trips, 0 to 1; those with errors are always sent.",
            ),
            click.option("--otlp-slow", metavar="DURATION", type=Duration(), help="Always send round trips that took at least this long."),
            click.option("--otlp-literals", is_flag=True, help="Also send the values in SQL text without parameters."),
        )
    ):
        command = option(command)
    return command


class Sender:
    """The process that sends, seen from `listen`."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self._process: subprocess.Popen[bytes] | None = process
        self._url = url

    def finish(self) -> None:
        """Let the process send the rest, and report the figures on stderr. Call it before the
        capture is removed; you may call it twice.
        """
        if self._process is None:
            return
        process, self._process = self._process, None
        try:
            data, _ = process.communicate(timeout=SENDS_WITHIN_S + _READ_FOR_S + 5)
        except subprocess.TimeoutExpired:
            process.kill()
            data, _ = process.communicate()
        output.print_stderr(f"pgtrace: {_summary(data, self._url)}")


def _summary(data: bytes, url: str) -> str:
    try:
        figures = json.loads(data)
        lost = [f"{figures[key]:,} {key}" for key in ("dropped", "rejected") if figures[key]]
        why = f" ({sanitise.text(figures['error'])})" if lost and figures["error"] else ""
        return f"{figures['sent']:,} spans and points sent to {url}{''.join(f', {one}' for one in lost)}{why}"
    except (ValueError, KeyError, TypeError):
        return f"sending to {url} has failed"


@contextmanager
def sending(recorder: Recorder, url: str | None, **choice: Any) -> Iterator[Callable[[], None]]:
    """Send what the recorder records, if there is a URL. Yields the function that ends it."""
    if url is None:
        yield lambda: None
        return
    asked = {"capture": str(recorder.capture), "url": url, "headers": collector.headers(os.environ), **choice}
    command = [sys.executable, "-m", "pgtrace.cli.telemetry"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(asked).encode() + b"\n")
    process.stdin.flush()
    sender = Sender(process, str(collector.target(url)))
    try:
        yield sender.finish
    finally:
        sender.finish()


def _step_back() -> None:
    """Leave the processors to the traffic. If Linux divides them by session (autogroup), nice has
    an effect only within a session, and this process has its own.
    """
    os.nice(_NICE)
    with suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as session:
        session.write(str(_NICE))


def main() -> None:
    """The entry point of the process that sends."""
    warnings.simplefilter("ignore")  # PYTHONWARNINGS is for the program that is traced
    from pgtrace.export import otlp
    from pgtrace.export.pending import Pending
    from pgtrace.trace.feed import Completed, Feed
    from pgtrace.trace.trace import Trace

    asked = json.loads(sys.stdin.buffer.readline())
    _step_back()
    to = collector.Collector(collector.target(asked["url"]), asked["headers"])
    trace = Trace.open([asked["capture"]])
    spans = otlp.Spans(trace, otlp.Choice(asked["ratio"], asked["slow_ns"], asked["literals"]))
    sums = otlp.Sums(trace)
    completed = Completed(Feed(trace))
    pending = Pending(trace)
    measured = time.monotonic()

    def turn(*, is_last: bool = False) -> None:
        places = completed.places()
        sums.add(places)
        places = pending.ready(places, time.monotonic(), is_last=is_last)
        spans.joins = pending.joins
        for start in range(0, len(places), otlp.SPANS_IN_A_REQUEST):
            found = list(spans.of(places[start : start + otlp.SPANS_IN_A_REQUEST]))
            if found:
                to.send(collector.TRACES, spans.request(found), len(found))

    while True:
        last = bool(select.select([sys.stdin], [], [], _TURN_S)[0])
        if last:
            while trace.update(_READ_FOR_S):
                turn()
        else:
            trace.update(_READ_FOR_S)
        turn(is_last=last)
        if last or time.monotonic() - measured >= _METRICS_EVERY_S:
            measured = time.monotonic()
            body, points = sums.request(), sums.points
            to.send(collector.METRICS, body, points)
        if last:
            break
    to.close(SENDS_WITHIN_S)
    trace.close()
    print(json.dumps({"sent": to.sent, "dropped": to.dropped, "rejected": to.rejected, "error": to.error}))


if __name__ == "__main__":
    main()
