"""What can be done, beyond looking: save, export, mark, delay, page, explain, compare.

Each is a key and a command (commands.py). What needs the recorder, a disk or a server happens in a thread (background.py); what came of it is one line in
the footer.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import ClassVar

from textual.app import SuspendNotSupported

from pgtrace.errors import PgTraceError
from pgtrace.export import FORMATS
from pgtrace.export.newfile import NewFile
from pgtrace.inspect.details import NOT_KEPT, NotKept
from pgtrace.inspect.executed import executed
from pgtrace.recorder import Recorder
from pgtrace.report.messages import rows_as_text
from pgtrace.tui.actions import background, explaining, pager
from pgtrace.tui.actions.background import Finished
from pgtrace.tui.actions.exporting import CAPTURE, Export, format_of, suffix
from pgtrace.tui.actions.saving import Saving
from pgtrace.tui.layout import Layout
from pgtrace.tui.model import figures, rowtext
from pgtrace.tui.model.asking import Asking, Choice, Choices, Fault
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.moving import AskedMoment
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets.comparison import Comparison
from pgtrace.tui.widgets.sheet import Page, TextPage


class Acting(Layout):
    """The screen with what changes something outside of it."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self.saving: Saving | None = None
        self._exports: list[Export] = []
        self._marks: list[str] = []
        self._explained: tuple[int, int] | None = None  # the row and execution whose plan is on display
        self._question: tuple[tuple[int, int], float] | None = None  # what E again says yes to, and until when (monotonic)
        self._picked: int | None = None  # the row that another one is to be compared with
        self._told = ""
        """What was said last of the file that the recording is saved to."""

    @property
    def recorder(self) -> Recorder | None:
        """What records, as long as it does."""
        recorder = self.view.recorder
        return recorder if isinstance(recorder, Recorder) and recorder.alive else None

    @property
    def saved(self) -> bool:
        """Whether a temporary recording has a file that stays."""
        return self.saving is not None and not self.saving.failed

    def on_finished(self, event: Finished) -> None:
        event.take()

    def tell_progress(self) -> None:
        """Have the footer say how far the work in the background is, and what became of the file that a recording is saved to."""
        saving = self.saving
        told = [f"exporting {os.path.basename(one.path)} {100 * one.done:.0f} %" for one in self._exports]
        if saving is not None and not saving.complete and not saving.failed:
            told.append(f"saving {saving.percent} %")
        self.footer.work("  ".join(told))
        if saving is not None and saving.outcome != self._told:
            self._told = saving.outcome
            self.footer.say(self._told)

    def finish(self) -> None:
        """The screen is left: what is being saved gets its end."""
        if self.saving is not None:
            if self.recorder is not None:
                try:
                    self.recorder.flush()
                except PgTraceError:
                    pass  # what it wrote is there
            self.saving.finish()

    # Saving and exporting.

    def action_save(self) -> None:
        """Ask where to, in which format."""
        stem = time.strftime("pgtrace-%Y%m%d-%H%M%S")
        name = CAPTURE if self.view.source.temporary and not self.saved else next(iter(FORMATS))
        self.ask(_SaveAs(self), f"{stem}.{suffix(name)}")

    def save_as(self, path: str, name: str = "") -> str:
        """Write what there is to a new file; in words, why not."""
        name = name or format_of(path)
        expanded = os.path.expanduser(path)
        if not name:
            return f"which format? it ends in .{', .'.join(suffix(one) for one in self.formats())}"
        if name == CAPTURE:
            return self._save(expanded)
        listing, trace = self.view.listing, self.view.trace
        places = None if listing.filtering.everything else listing.all_places()
        try:
            file = NewFile(expanded)
        except PgTraceError as error:
            return str(error)
        export = Export(FORMATS[name], expanded, trace.paths, trace.files, places)
        self._exports.append(export)

        def done(_: None) -> None:
            self._exports.remove(export)
            what = f"{figures.grouped(len(places or ()))} rows" if export.selects else "everything"
            self.footer.say(f"{what} written to {export.path}")

        def refused(reason: str) -> None:
            self._exports.remove(export)
            self.footer.say(reason)

        background.begin(self, partial(export.write, file), done, refused)
        return ""

    def formats(self) -> list[str]:
        """What can be written at the moment."""
        return [*([CAPTURE] if self.view.source.temporary else []), *FORMATS]

    def _save(self, path: str) -> str:
        trace = self.view.trace
        if not self.view.source.temporary:
            return f"the recording is in {trace.files[0]} already: choose another format"
        if self.saved and self.saving is not None:
            return f"the recording is being saved to {self.saving.path} already"
        try:
            self.saving = Saving(trace.paths[0], path)
        except PgTraceError as error:
            return str(error)
        self._told = ""
        return ""

    # The recorder.

    def action_mark(self) -> None:
        """Begin a mark, or end the one that was begun here last."""
        if self.recorder is None:
            self.footer.say("there is nothing to record a mark into: this recording is over")
        elif self._marks:
            self._end_mark(self._marks[-1])
        else:
            self.ask(_MarkName(self))

    def begin_mark(self, name: str) -> str:
        """Begin a mark of that name; in words, why not."""
        recorder = self.recorder
        if recorder is None:
            return "there is nothing to record into: this recording is over"

        def begun(_: int) -> None:
            self._marks.append(name)
            self.view.marked = name
            self.footer.say(f"mark {name} begins; m ends it")

        background.begin(self, partial(recorder.begin_mark, name), begun, self.footer.say)
        return ""

    def _end_mark(self, name: str) -> None:
        def ended(_: None) -> None:
            self._marks.remove(name)
            self.view.marked = self._marks[-1] if self._marks else ""
            self.footer.say(f"mark {name} ends")

        if self.recorder is not None:
            background.begin(self, partial(self.recorder.end_mark, name), ended, self.footer.say)

    def set_rtt(self, rtt_ns: int) -> str:
        """Delay every session by that much from here on; in words, why not."""
        recorder = self.recorder
        if recorder is None:
            return "there is nothing to delay: this recording is over"
        told = f"{rtt_ns / 1e6:g} ms of network delay from here on" if rtt_ns else "no network delay from here on"
        background.begin(self, partial(recorder.set_rtt, rtt_ns), lambda _: self.footer.say(told), self.footer.say)
        return ""

    def go_to_moment(self, text: str) -> str:
        """To the row that began at that moment; in words, why not."""
        item = self.timeline.item
        if item is None:
            return "there is no row"
        fault = AskedMoment(item.opened_ns, self.view.trace.start_ns, self.timeline.go_to_time).accepted(text)
        if fault is None:
            self.pane = "timeline"
        return fault.reason if fault is not None else ""

    # The pager.

    def action_page(self) -> None:
        """The row under the cursor in the pager."""
        item = self.timeline.item
        if item is None:
            return
        pen = self.view.pen
        text = (pen.text(line) for line in rows_as_text(self.view.trace, item.places, with_hex=True))
        refused = ""
        try:
            with self.app.suspend():
                try:
                    pager.page(text)
                except PgTraceError as error:  # the toolkit takes the screen back at the end of the block alone
                    refused = str(error)
        except SuspendNotSupported:
            refused = "this terminal cannot be given away"
        if refused:
            self.call_later(self.footer.say, refused)  # behind what was under way when the screen was given away

    # What is read in the inspector's place.

    def read(self, page: Page | None) -> None:
        """Show a page there, or none."""
        self.sheet.show(page)
        self.lay_out()
        if self.sheet.display:
            self.set_focus(self.sheet)

    def close_page(self) -> None:
        """Show what was there before."""
        self._explained = None
        self.read(None)

    def action_explain(self) -> None:
        """The plan of the statement under the cursor; with it on display, that of running it, which is asked for first."""
        source, item = self.view.source, self.timeline.item
        if not source.explain_dsn:
            self.footer.say(explaining.HOW)
            return
        if item is None:
            return
        message = self.inspector.messages.message if self.inspecting and not self.sheet.display else None
        place, execution = what = self._explained or (item.place, message.execution if message is not None else 0)
        analyze = self._explained is not None
        sure = self._says_yes(what)
        if analyze and not sure:
            self._ask_again(what, explaining.RUNS)
            return
        try:
            statements = [one for one in executed(self.view.trace, place, execution or None) if one.sql is not None]
        except NotKept:
            self.footer.say(NOT_KEPT)
            return
        if not statements:
            self.footer.say("there is no statement here whose SQL is known")
            return
        one = statements[0]
        self.footer.say("EXPLAIN ANALYZE is running" if analyze else "EXPLAIN is running")

        def work() -> list[str] | explaining.Unsure:
            try:
                return explaining.explain(source.explain_dsn, one, analyze=analyze, sure=sure or source.throwaway)
            except explaining.Unsure as question:
                return question

        def done(plan: list[str] | explaining.Unsure) -> None:
            if isinstance(plan, explaining.Unsure):
                self._ask_again(what, rowtext.plain(str(plan), max(1, self.size.width - 2)))
                return
            self._explained = place, one.execution
            more = f" · execution {one.execution} of several" if len(statements) > 1 else ""
            name = "EXPLAIN ANALYZE" if analyze else "EXPLAIN" if one.parameters is not None else "EXPLAIN for any parameters"
            self.footer.forget()
            self.read(TextPage(f"{name}{more} · {rowtext.plain(one.sql or '', 80)}", "plan", plan, (("E", "run it: ANALYZE"),)))

        background.begin(self, work, done, self._refused)

    def _ask_again(self, what: tuple[int, int], question: str) -> None:
        """Ask: the same key, on the same statement and soon, says yes."""
        self._question = what, time.monotonic() + explaining.CONSENT_S
        self.footer.say(question)

    def _says_yes(self, what: tuple[int, int]) -> bool:
        """Whether this key answers the question that was asked about it; a question is asked once."""
        question, self._question = self._question, None
        return question is not None and question[0] == what and time.monotonic() <= question[1]

    def action_compare(self) -> None:
        """Pick the row under the cursor, or show it beside the one that was picked."""
        item = self.timeline.item
        if item is None:
            return
        if not any(row.sent_bytes or row.received_bytes for row in item.rows):
            self.footer.say("there are no messages here to compare")
            return
        if self._picked is None or self._picked == item.place:
            self._picked = item.place if self._picked is None else None
            self.footer.say("picked: = on another row shows both side by side" if self._picked is not None else "not picked any more")
            return
        picked, self._picked = self._picked, None
        listing, trace = self.view.listing, self.view.trace
        first = listing[listing.index(picked)] if listing.shows(picked) else listing.item(picked)
        messages = [[message for place in one.places for message in trace.details(place).messages] for one in (first, item)]
        titles = [
            f"#{one.row.number} {self.view.connection_name(one.row.connection)} {self.view.driver(one.row.connection)}"
            for one in (first, item)
        ]
        self.read(Comparison((titles[0], titles[1]), *messages))

    def _refused(self, reason: str) -> None:
        self.footer.say(rowtext.plain(reason, max(1, self.size.width - 2)))


class _SaveAs(Asking):
    """Where to, and by the end of the name in which format."""

    label = "write to"
    HINTS: ClassVar[Hints] = (("tab", "format"), ("enter", "write"), ("esc", "back"))

    def __init__(self, screen: Acting) -> None:
        self._screen = screen
        self.room = len(screen.formats()) + 1

    def choices(self, text: str, cursor: int) -> Choices:
        stem = text.removesuffix(f".{suffix(format_of(text))}") if format_of(text) else text.rstrip(".")
        return Choices(0, [Choice(f"{stem}.{suffix(name)}", self._what(name)) for name in self._screen.formats()])

    def accepted(self, text: str) -> Fault | None:
        reason = self._screen.save_as(text.strip()) if text.strip() else "a name is missing"
        return Fault(0, len(text), reason) if reason else None

    def _what(self, name: str) -> str:
        if name == CAPTURE:
            return "the whole recording, and what comes until you quit"
        listing = self._screen.view.listing
        known = FORMATS[name]
        if listing.filtering.everything:
            return known.what
        return f"{known.what}; {f'{listing.matching} of {listing.rows} rows' if 'places' in known.options else 'all rows'}"


class _MarkName(Asking):
    """What a mark is called."""

    label = "mark"

    def __init__(self, screen: Acting) -> None:
        self._screen = screen

    def accepted(self, text: str) -> Fault | None:
        reason = self._screen.begin_mark(text.strip()) if text.strip() else "a name is missing"
        return Fault(0, len(text), reason) if reason else None
