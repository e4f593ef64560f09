"""Prints completed round trips as lines, for `listen` without a terminal. The recorder's messages
go to stderr.
"""

from __future__ import annotations

from pgtrace.cli.output import print_stderr, write
from pgtrace.cli.stopping import Stop
from pgtrace.recorder import Recorder
from pgtrace.report.messages import round_trip_line
from pgtrace.trace.feed import Completed, Feed
from pgtrace.trace.trace import Trace

_TURN_S = 0.1


def follow(recorder: Recorder, stop: Stop) -> None:
    """Print each row once it is complete, until `stop` is set or the recorder has ended. If stdout
    is closed, printing ends but recording continues.
    """
    trace = Trace.open([recorder.capture])
    completed = Completed(Feed(trace))
    printed = 0
    while True:
        last = stop.is_set() or not recorder.alive
        if recorder.alive:
            trace.read_until(recorder.flush().position)
        else:
            trace.update()
        lines = [round_trip_line(trace, trace.rows[place]) for place in completed.places(with_open=last)]
        text, end, _ = recorder.log[printed:].rpartition("\n")
        if end:
            print_stderr(*text.split("\n"))
            printed += len(text) + 1
        if lines and not write(lines):
            _wait(stop, recorder)
            return
        if last:
            return
        stop.wait(_TURN_S)


def _wait(stop: Stop, recorder: Recorder) -> None:
    while not stop.wait(_TURN_S) and recorder.alive:
        pass
