"""Questions about captures, with answers of at most LONGEST characters.

Each question is a method. Its docstring is the description by which an assistant chooses it.
Answers are shortened forms of the JSON that the commands print: lists end with the number of
entries left out, and how to get them. A mistake in a question raises a PgTraceError with one line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final, Literal, get_args

from pgtrace import sanitise
from pgtrace.compare.behaviour import Behaviour
from pgtrace.compare.diff import compare
from pgtrace.errors import AnyPath, UsageError
from pgtrace.inspect import details
from pgtrace.judge.advice import Advice
from pgtrace.report import advice, encoding, messages, stats
from pgtrace.report import diff as diff_report
from pgtrace.testing.capture import Capture
from pgtrace.testing.selected import Selected

LONGEST: Final = 32 * 1024
"""The most characters of an answer."""
MOST: Final = 200
"""The most entries of a list, whatever the limit asked for."""
MESSAGES: Final = 100
_TEXT: Final = 400
"""The most characters of a text inside an answer."""

By = Literal["driver", "connection", "statement", "mark", "label", "leg"]
_PLURAL: Final = {word: f"{word}s" for word in get_args(By)}


class Answers:
    """Answers questions about the named captures."""

    def __init__(self, paths: Sequence[AnyPath]) -> None:
        self._paths = [str(path) for path in paths]
        self._captures: dict[int, Capture] = {}
        self._opened = ExitStack()
        self._lock = threading.Lock()

    def close(self) -> None:
        self._opened.close()

    @property
    def questions(self) -> list[Callable[..., str]]:
        return [self.captures, self.stats, self.findings, self.round_trips, self.show, self.diff]

    def captures(self) -> str:
        """List the captures you can ask about, with their main counters. Begin here."""
        with self._lock:
            found = []
            for number, path in enumerate(self._paths, 1):
                capture = self._capture(number)
                totals = capture.counters
                found.append(
                    {
                        "file": number,
                        "path": path,
                        "complete": capture.complete,
                        "connections": len(capture.trace.connections),
                        "drivers": {driver: counters.round_trips for driver, counters in capture.drivers.items()},
                        "round_trips": totals.round_trips,
                        "setup_round_trips": totals.setup_round_trips,
                        "executions": totals.executions,
                        "errors": totals.errors,
                        "wait_ms": round(totals.wait_ns / 1e6, 3),
                    }
                )
            return _encoded({"captures": found[:MOST]})

    def stats(self, by: By = "driver", file: int = 1, filter: str = "", limit: int = 20, start: int = 1) -> str:
        """Counters by driver, connection, statement, mark, label or leg. With `by` statement, the
        costliest statements come first. With a `filter` (in pgtrace's language: `error and ms >
        10`, `driver:asyncpg`, `sql ~ "from orders"`), the counters are those of the selected round
        trips.
        """
        with self._lock:
            capture = self._capture(file)
            if filter:
                selected = Selected(capture.trace, filter, range(len(capture.trace.rows)))
                return _encoded({"filter": filter, "selected": len(selected.places), "totals": selected.counters.as_dict()})
            if by not in _PLURAL:
                raise UsageError(f"by is one of {', '.join(_PLURAL)}")
            data = stats.as_dict(capture.trace)
            return _encoded({"capture": data["capture"], "totals": data["totals"], **_part(_PLURAL[by], data[_PLURAL[by]], start, limit)})

    def findings(self, file: int = 1, limit: int = 10, start: int = 1) -> str:
        """Problems that cost round trips, failed or will fail, most costly first, with the
        evidence, the reason and the remedy in the driver's own settings. Also the errors that no
        finding explains.
        """
        with self._lock:
            capture = self._capture(file)
            found = Advice(capture.trace)
            found.update()
            data = advice.as_dict(capture.trace, found.findings(), found.unexplained())
            return _encoded({**_part("findings", data["findings"], start, limit), "unexplained": data["unexplained"]})

    def round_trips(self, file: int = 1, filter: str = "", limit: int = 50, start: int = 1) -> str:
        """The timeline: one line per row, in order, with its number (`row`), time, connection,
        messages in flight notation, SQL or error, and duration. A `filter` selects rows.
        """
        with self._lock:
            capture = self._capture(file)
            places: Sequence[int] = range(len(capture.trace.rows))
            if filter:
                places = Selected(capture.trace, filter, places).places
            chosen = places[max(0, start - 1) :][: _most(limit)]
            lines = [
                {"row": place + 1, "line": str(messages.round_trip_line(capture.trace, capture.trace.rows[place]))} for place in chosen
            ]
            return _encoded({"rows": lines, **_left(len(places), start, len(lines))})

    def show(self, row: int, file: int = 1) -> str:
        """One row of the timeline in full: up to 100 messages with their fields and values. `row`
        is its number in round_trips, or in the evidence of a finding.
        """
        with self._lock:
            trace = self._capture(file).trace
            if not 1 <= row <= len(trace.rows):
                raise UsageError(f"there is no row {row}: the capture has {len(trace.rows)}")
            try:
                (data,) = messages.rows_as_json(trace, [row - 1])
            except details.NotKept as error:
                raise UsageError(str(error)) from None
            return _encoded({**data, **_part("messages", data["messages"], 1, MESSAGES)})

    def diff(self, before: int, after: int) -> str:
        """The differences between two captures on the wire, in words, most costly first."""
        with self._lock:
            names = [self._paths[self._index(file)] for file in (before, after)]
            with ExitStack() as opened:
                traces = []
                for file in (before, after):
                    trace = Behaviour.open(self._capture(file).trace.paths)
                    opened.callback(trace.close)
                    while trace.update():
                        pass
                    traces.append(trace)
                data = diff_report.as_dict(compare(*traces), names)
            return _encoded({key: data[key] for key in ("same", "a", "b")} | _part("changes", data["changes"], 1, MOST))

    def _index(self, file: int) -> int:
        if not 1 <= file <= len(self._paths):
            raise UsageError(f"there is no capture {file}: they are 1 to {len(self._paths)}")
        return file - 1

    def _capture(self, file: int) -> Capture:
        """The capture with that number, read up to now. The caller must hold the lock."""
        index = self._index(file)
        found = self._captures.get(index)
        if found is None:
            found = self._captures[index] = self._opened.enter_context(Capture(self._paths[index]))
        else:
            found.update()
        return found


def _most(limit: int) -> int:
    return max(1, min(limit, MOST))


def _part(name: str, entries: Sequence[Any], start: int, limit: int) -> dict[str, Any]:
    """Some entries of a list, with a note on those left out."""
    chosen = list(entries[max(0, start - 1) :][: _most(limit)])
    return {name: chosen, **_left(len(entries), start, len(chosen))}


def _left(of: int, start: int, shown: int) -> dict[str, Any]:
    after = max(1, start) + shown
    return {"of": of, "next_start": after} if after <= of else {"of": of}


def _encoded(about: dict[str, Any]) -> str:
    """An answer as JSON, with texts cut, and the longest list cut until all of it fits."""
    about = _cut(about)
    text = str(encoding.as_json(about))
    while len(text) > LONGEST:
        longest = max((key for key in about if isinstance(about[key], list) and about[key]), key=lambda key: len(about[key]), default=None)
        if longest is None:
            return str(encoding.as_json({"error": "too long", "left": sanitise.text(text[: LONGEST // 2])}))
        about[longest] = about[longest][: len(about[longest]) // 2]
        about["cut"] = "entries were left out: ask for fewer, or with a filter"
        about.pop("next_start", None)
        text = str(encoding.as_json(about))
    return text


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _TEXT else f"{value[:_TEXT]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {_cut(key): _cut(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_cut(one) for one in value]
    return value
