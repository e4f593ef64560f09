"""The recorder that writes what is shown: marks, and the delay of its sessions."""

from __future__ import annotations

from functools import partial

from pgtrace.durations import duration_ns
from pgtrace.errors import UsageError
from pgtrace.tui.actions import background
from pgtrace.tui.actions.commands import Command
from pgtrace.tui.areas import Areas
from pgtrace.tui.model.asking import Asking, Fault


class Recording:
    """Gives orders to the recorder, in a thread, because it may take long to answer."""

    def __init__(self, areas: Areas) -> None:
        self._areas = areas
        self._marks: list[str] = []
        self.commands = (
            Command("rtt", "DURATION", "network delay of every session from here on", self._rtt),
            Command("mark", "NAME", "begin a mark", self.begin_mark),
        )

    def toggle_mark(self) -> None:
        """Begin a mark, or end the latest one begun here."""
        if self._areas.view.live_recorder is None:
            self._areas.show_notice("there is nothing to record a mark into: this recording is over")
        elif self._marks:
            self._end_mark(self._marks[-1])
        else:
            self._areas.ask(_MarkName(self))

    def begin_mark(self, name: str) -> str:
        """Begin a mark. Returns an error message, or an empty string."""
        areas = self._areas
        recorder = areas.view.live_recorder
        if recorder is None:
            return "there is nothing to record into: this recording is over"

        def begun(_: int) -> None:
            self._marks.append(name)
            areas.view.marked = name
            areas.show_notice(f"mark {name} begins; m ends it")

        background.begin(areas.screen, partial(recorder.begin_mark, name), begun, areas.show_notice)
        return ""

    def _end_mark(self, name: str) -> None:
        areas = self._areas
        recorder = areas.view.live_recorder

        def ended(_: None) -> None:
            self._marks.remove(name)
            areas.view.marked = self._marks[-1] if self._marks else ""
            areas.show_notice(f"mark {name} ends")

        if recorder is not None:
            background.begin(areas.screen, partial(recorder.end_mark, name), ended, areas.show_notice)

    def _rtt(self, text: str) -> str:
        """Delay every session from now on. Returns an error message, or an empty string."""
        try:
            rtt_ns = duration_ns(text)
        except UsageError as error:
            return str(error)
        areas = self._areas
        recorder = areas.view.live_recorder
        if recorder is None:
            return "there is nothing to delay: this recording is over"
        done = f"{rtt_ns / 1e6:g} ms of network delay from here on" if rtt_ns else "no network delay from here on"
        background.begin(areas.screen, partial(recorder.set_rtt, rtt_ns), lambda _: areas.show_notice(done), areas.show_notice)
        return ""


class _MarkName(Asking):
    """The name of a mark."""

    label = "mark"

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def accepted(self, text: str) -> Fault | None:
        reason = self._recording.begin_mark(text.strip()) if text.strip() else "type a name"
        return Fault(0, len(text), reason) if reason else None
