"""The inspector: the selected row's statements, its messages, and one message's fields and bytes.

On a wide screen it is below the list, with messages on the left and fields on the right; on a
narrow one it takes the whole body, with messages above fields. The statements come first, on as
many lines as they need, but leave most lines to the messages.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container
from textual.strip import Strip

from pgtrace.report import about
from pgtrace.trace.row import RowKind
from pgtrace.tui.model import cells, figures, rowtext, statement
from pgtrace.tui.model.groups import Together
from pgtrace.tui.model.items import Item
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets import lines
from pgtrace.tui.widgets.base import LineWidget
from pgtrace.tui.widgets.fields import Fields
from pgtrace.tui.widgets.messages import Messages
from pgtrace.tui.widgets.statements import StatementPage, Statements

FIELDS_LEAST = 67
"""Cells of the right half: a line of hex in pairs, and the rule before it."""
_FOLDS = {Together.SETUP: "set-up", Together.REPEAT: "repeats", Together.TRANSACTION: "transaction"}
_END_CELLS = 90
_RULE_CELLS = 8
"""Cells of a rule besides its texts, at least."""


class InspectorTitle(LineWidget):
    """The rule above, which names the row."""

    item: Item | None = None
    messages = 0

    def build(self, width: int, height: int) -> list[Strip]:
        item, view = self.item, self.view
        if item is None:
            return [lines.rule(view.pen, width, "nothing selected", "esc closes")]
        row = item.row
        what = (
            f"{_FOLDS[item.sum.kind]}, {figures.grouped(item.sum.number)} round trips"
            + (f", the first {len(item.places)} of them here" if item.sum.number > len(item.places) else "")
            if item.folded
            else f"round trip {row.number}"
            if row.is_round_trip
            else f"row {row.number}"
        )
        if row.shape.kind is RowKind.MARK:
            return [lines.rule(view.pen, width, "mark", "esc closes")]
        parts = [what, " ".join((view.connection_name(row.connection), rowtext.plain(view.driver(row.connection), 20)))]
        connection = view.connection(row.connection)
        if connection is not None and connection.layer.name:
            parts[-1] += f" +{rowtext.plain(connection.layer.name, 20)}"
        if not item.folded and (across := view.lanes.in_words(item.place, row)):
            parts.append(rowtext.plain(across, _END_CELLS))
        if row.shape.depth > 1:
            parts.append(f"depth {row.shape.depth}")
        elif row.shape.statement and item.period == 1:
            parts.append(rowtext.plain(rowtext.statement_name(row.shape.statement, view.driver(row.connection)), 24))
        if row.label.end:
            parts.append(rowtext.plain(row.label.end, _END_CELLS))
        if row.shape.uncertain:
            parts.append("bytes are missing: counts are lower bounds")
        if connection is not None:
            parts.append(rowtext.plain(about.process(connection), 24))
        left = " · ".join(part for part in parts if part.strip())
        right = [f"{figures.grouped(self.messages)} message{'' if self.messages == 1 else 's'}", "esc closes"]
        if row.is_round_trip:
            waited = ", waited for the recorder's disk" if any(map(view.trace.waited_for_disk, item.rows)) else ""
            right.insert(0, f"{figures.milliseconds(view.item_end_ns(item) - item.opened_ns)} ms{waited}")
        while len(right) > 1 and cells.width(left) + cells.width(" · ".join(right)) + _RULE_CELLS > width:
            right.pop()
        return [lines.rule(view.pen, width, left, " · ".join(right))]


class Inspector(Container):
    """Title, statements, messages, fields."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.title_line = InspectorTitle(view, id="inspector-title")
        self.statements = Statements(view, id="statements-ran")
        self.messages = Messages(view, id="messages")
        self.fields = Fields(view, id="fields")
        self._shown: tuple[tuple[int, ...], tuple[int, ...], int | None] | None = None
        self._shared = (0, 0, False)

    def compose(self) -> ComposeResult:
        yield self.title_line
        yield self.statements
        with Container(id="inspector-halves"):
            yield self.messages
            yield self.fields

    def share_out(self, width: int, height: int, *, alone: bool) -> None:
        """Lay out its parts side by side, or one above the other."""
        self._shared = (width, height, alone)
        self.styles.height = height
        self.set_class(alone, "-stacked")
        self.fields.narrow = alone
        ran = self.statements.height_for(width, min(statement.LINES, (height - 1) * 2 // 5))
        self.statements.display = ran > 0
        self.statements.styles.height = max(1, ran)
        left = height - 1 - ran
        if alone:
            upper = max(3, left * 2 // 5)
            self.messages.styles.width = self.fields.styles.width = "100%"
            self.messages.styles.height, self.fields.styles.height = upper, left - upper
        else:
            right = max(FIELDS_LEAST, width * 56 // 100 if width < 160 else width * 68 // 100)
            self.messages.styles.width, self.fields.styles.width = width - right, right
            self.messages.styles.height = self.fields.styles.height = "100%"

    def show(self, item: Item | None) -> None:
        """Inspect a line of the timeline. It is read again only if more of it has passed; the
        cursors then keep their places.
        """
        state = (item.places, tuple(row.sent_bytes + row.received_bytes for row in item.rows), item.end_ns) if item else None
        if state != self._shown:
            same = state is not None and self._shown is not None and state[0] == self._shown[0]
            self._shown = state
            cursor, top = self.messages.cursor, self.messages.top
            self.messages.show(item)
            if same:
                self.messages.cursor, self.messages.top = cursor, top
                self.messages.redraw()
            self.statements.show(self.messages.messages, self.messages.places)
            self._follow()
            if self._shared[0]:
                self.share_out(*self._shared[:2], alone=self._shared[2])
        self.title_line.item, self.title_line.messages = item, self.messages.passed
        self.title_line.redraw()

    def forget(self) -> None:
        """Nothing is inspected any more."""
        self._shown = None

    def on_messages_moved(self, event: Messages.Moved) -> None:
        """The fields follow the messages."""
        event.stop()
        self._follow()

    def put_values(self) -> None:
        """Show values instead of parameters, or parameters again."""
        self.statements.in_place = not self.statements.in_place
        self.share_out(*self._shared[:2], alone=self._shared[2])
        self.statements.redraw()

    def whole_sql(self) -> StatementPage:
        """Every statement as it was written."""
        return StatementPage("SQL as it was written", self.statements, lambda: self._shared[0])

    def _follow(self) -> None:
        """Show the fields and the statement of the message under the cursor."""
        self.fields.show(self.messages.message)
        self.statements.follow(self.messages.message, self.messages.place)
