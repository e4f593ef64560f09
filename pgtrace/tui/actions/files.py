"""`e`: save the recording, or export what is shown.

A thread does the work, without delaying the screen or the traffic; the result is one line in the
footer.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import ClassVar

from pgtrace.errors import PgTraceError
from pgtrace.export import FORMATS
from pgtrace.export.newfile import NewFile
from pgtrace.tui.actions import background
from pgtrace.tui.actions.commands import Command
from pgtrace.tui.actions.exporting import CAPTURE, Export, format_of, suffix
from pgtrace.tui.actions.saving import Saving
from pgtrace.tui.areas import Areas
from pgtrace.tui.model import figures
from pgtrace.tui.model.asking import Asking, Choice, Choices, Fault
from pgtrace.tui.model.keys import Hints


class Files:
    """Writes captures and exports."""

    def __init__(self, areas: Areas) -> None:
        self.saving: Saving | None = None
        self.exports: list[Export] = []
        """The exports under way."""
        self._areas = areas
        self._latest_notice = ""
        """The latest notice about the file to which the recording is saved."""
        self.commands = (
            Command("save", "PATH", "save the recording", lambda text: self.save_as(text, CAPTURE)),
            Command("export", "FORMAT PATH", "write what is shown", self._export, lambda: FORMATS),
        )

    @property
    def saved(self) -> bool:
        """Whether a temporary recording has a file that stays."""
        return self.saving is not None and not self.saving.failed

    def show_progress(self) -> None:
        """Show the progress in the footer, and notices about the file to which a recording is
        saved.
        """
        saving = self.saving
        under_way = [f"exporting {os.path.basename(one.path)} {100 * one.done:.0f} %" for one in self.exports]
        if saving is not None and not saving.complete and not saving.failed:
            under_way.append(f"saving {saving.percent} %")
        self._areas.footer.show_work("  ".join(under_way))
        if saving is not None and saving.outcome != self._latest_notice:
            self._latest_notice = saving.outcome
            self._areas.show_notice(self._latest_notice)

    def finish(self) -> None:
        """Complete the file that is being saved, because the screen closes."""
        if self.saving is not None:
            recorder = self._areas.view.live_recorder
            if recorder is not None:
                try:
                    recorder.flush()
                except PgTraceError:
                    pass  # the file keeps what was written
            self.saving.finish()

    def ask(self) -> None:
        """Ask for a file, whose name says the format."""
        stem = time.strftime("pgtrace-%Y%m%d-%H%M%S")
        name = CAPTURE if self._areas.view.source.temporary and not self.saved else "jsonl"
        self._areas.ask(_SaveAs(self, self._areas), f"{stem}.{suffix(name)}")

    def save_as(self, path: str, name: str = "") -> str:
        """Write what is shown to a new file. Returns an error message, or an empty string."""
        name = name or format_of(path)
        expanded = os.path.expanduser(path)
        if not name:
            return f"unknown format: the name must end in .{', .'.join(suffix(one) for one in self.formats())}"
        if name == CAPTURE:
            return self._save(expanded)
        listing, trace = self._areas.view.listing, self._areas.view.trace
        places = None if listing.filtering.everything else listing.all_places()
        try:
            file = NewFile(expanded)
        except PgTraceError as error:
            return str(error)
        export = Export(FORMATS[name], expanded, trace.paths, trace.files, places)
        self.exports.append(export)

        def done(_: None) -> None:
            self.exports.remove(export)
            what = f"{figures.grouped(len(places or ()))} rows" if export.selects else "everything"
            self._areas.show_notice(f"{what} written to {export.path}")

        def refused(reason: str) -> None:
            self.exports.remove(export)
            self._areas.show_notice(reason)

        background.begin(self._areas.screen, partial(export.write, file), done, refused)
        return ""

    def formats(self) -> list[str]:
        """The formats that can be written at the moment."""
        return [*([CAPTURE] if self._areas.view.source.temporary else []), *FORMATS]

    def _save(self, path: str) -> str:
        trace = self._areas.view.trace
        if not self._areas.view.source.temporary:
            return f"the recording is in {trace.files[0]} already: choose another format"
        if self.saved and self.saving is not None:
            return f"the recording is being saved to {self.saving.path} already"
        try:
            self.saving = Saving(trace.paths[0], path)
        except PgTraceError as error:
            return str(error)
        self._latest_notice = ""
        return ""

    def _export(self, text: str) -> str:
        name, _, path = text.partition(" ")
        if name not in FORMATS:
            return f"unknown format {name!r}: use {', '.join(FORMATS)}"
        return self.save_as(path.strip(), name) if path.strip() else "export needs a path: export FORMAT PATH"


class _SaveAs(Asking):
    """Asks for a file; the suffix of its name decides the format."""

    label = "write to"
    HINTS: ClassVar[Hints] = (("tab", "format"), ("enter", "write"), ("esc", "back"))

    def __init__(self, files: Files, areas: Areas) -> None:
        self._files = files
        self._listing = areas.view.listing
        self.room = len(files.formats()) + 1

    def choices(self, text: str, cursor: int) -> Choices:
        stem = text.removesuffix(f".{suffix(format_of(text))}") if format_of(text) else text.rstrip(".")
        return Choices(0, [Choice(f"{stem}.{suffix(name)}", self._what(name)) for name in self._files.formats()])

    def accepted(self, text: str) -> Fault | None:
        reason = self._files.save_as(text.strip()) if text.strip() else "type a name"
        return Fault(0, len(text), reason) if reason else None

    def _what(self, name: str) -> str:
        if name == CAPTURE:
            return "the whole recording; new traffic is added until you quit"
        listing = self._listing
        known = FORMATS[name]
        if listing.filtering.everything:
            return known.what
        return f"{known.what}; {f'{listing.matching} of {listing.rows} rows' if 'places' in known.options else 'all rows'}"
