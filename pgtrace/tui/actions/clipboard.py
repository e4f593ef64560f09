"""`y`: a menu of things to copy. A copy goes to the terminal's clipboard and to a file."""

from __future__ import annotations

from pgtrace.errors import PgTraceError
from pgtrace.inspect.details import NOT_KEPT, NotKept
from pgtrace.tui.areas import Areas
from pgtrace.tui.model import copying
from pgtrace.tui.model.copying import Offer
from pgtrace.tui.panes.differences import Differences
from pgtrace.tui.panes.findings import Findings
from pgtrace.tui.widgets.empty import instructions
from pgtrace.tui.widgets.table import TablePane


class Clipboard:
    """Copies the item under the cursor."""

    def __init__(self, areas: Areas) -> None:
        self._areas = areas
        self._file = copying.CopyFile()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def offers(self) -> list[Offer]:
        """The things that can be copied at the moment."""
        areas = self._areas
        pane = areas.panes[areas.pane]
        if pane is areas.differences and areas.sheet.display and not areas.helping:
            return areas.sheet.offers()
        if isinstance(pane, (TablePane, Findings, Differences)) and not areas.helping:
            return pane.offers()
        if pane is not areas.timeline or areas.helping:
            return []
        if areas.sheet.display:
            return areas.sheet.offers()
        item = areas.timeline.item
        if item is None:
            commands = instructions(areas.view.source)
            return [Offer("", "how to connect", lambda: "\n".join(commands))] if commands and areas.empty.display else []
        if not areas.inspecting:
            return copying.of_row(areas.view, item)
        message = areas.inspector.messages.message
        return copying.of_row(areas.view, item, message.execution if message is not None else 0) + areas.inspector.fields.offers()

    def ask(self) -> None:
        """Ask what to copy; on the empty screen there is only one choice."""
        offers = self.offers()
        if self._areas.empty.display:
            self._copy(offers[0])
            return
        self._areas.copy_menu.offer(offers, self._areas.width)
        self._areas.footer.display = False

    def chosen(self, offer: Offer | None) -> None:
        """Close the menu, and copy what was chosen from it."""
        self._areas.copy_menu.display = False
        self._areas.footer.display = True
        if offer is not None:
            self._copy(offer)

    def _copy(self, offer: Offer) -> None:
        try:
            text = offer.text()
        except PgTraceError as error:
            self._areas.show_notice(str(error))
            return
        except NotKept:
            self._areas.show_notice(NOT_KEPT)
            return
        self._areas.screen.app.copy_to_clipboard(text)
        if self._areas.view.source.read_only:
            self._areas.show_notice(f"{offer.name} copied")
            return
        try:
            self._areas.show_notice(f"{offer.name} copied, also in {self._file.write(text)}")
        except OSError as error:
            self._areas.show_notice(f"{offer.name} copied; it could not be written to a file: {error.strerror}")
