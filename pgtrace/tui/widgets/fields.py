"""The inspector's right half: one message, its fields in the manual's order with their decoded
values, and its bytes.

The bytes of the selected field are inverted in the hex dump, which is next to the fields from
BESIDE cells on, else below them. In the raw view a value is shown as the field's bytes, with the
length before a parameter or column. `h l` scroll long values and their bytes together.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from textual.strip import Strip

from pgtrace.inspect.message import FieldView, MessageView
from pgtrace.protocol.codes import FRONTEND
from pgtrace.tui.model import cells, figures, rowtext
from pgtrace.tui.model.copying import Offer, of_message
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets import hexdump, lines
from pgtrace.tui.widgets.base import ListWidget
from pgtrace.tui.widgets.lines import Line, blank

BESIDE: Final = 124
_HEX_LEAST: Final = 4
"""Lines left for the hex dump when it is below many fields."""
_NAME_CELLS: Final = (18, 22)
"""The smallest and the largest width of the names, in cells."""
_FORMATS: Final = ("parameter_formats", "result_formats")
_FORMAT_NAMES: Final = {"0": "text", "1": "binary"}
_LETTERED: Final = "Byte1 String"
"""A field of an ErrorResponse or NoticeResponse: the byte says which."""
_PRINTABLE: Final = [chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in range(256)]


class Fields(ListWidget):
    """Fields and bytes of one message."""

    HINTS: ClassVar[Hints] = (
        ("j k", "field"),
        ("tab", "list"),
        ("h l", "sideways"),
        ("u", "typed or raw"),
        ("y", "copy"),
        ("n", "next problem"),
        ("esc", "back"),
        ("?", "help"),
    )
    HEADS = 1

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.message: MessageView | None = None
        self.fields: list[FieldView] = []
        self.raw = b""
        self.narrow = False
        """Whether it is below the messages, and begins with a rule, instead of on their right."""
        self._names = _NAME_CELLS[0]

    def show(self, message: MessageView | None) -> None:
        """Decode a message and show it; if it was shown already, the cursor stays."""
        same = message is not None and self.message is not None and _place(message) == _place(self.message)
        self.message = message
        self.fields = message.fields() if message else []
        self.raw = message.raw if message else b""
        longest = max((cells.width(field.name) + 2 * field.depth for field in self.fields), default=0)
        self._names = max(_NAME_CELLS[0], min(longest, _NAME_CELLS[1]))
        if not same:
            self.top = self.sideways = 0
            failed = message is not None and message.name == "ErrorResponse"
            self.cursor = next((line for line, field in enumerate(self.fields) if failed and field.name == "sqlstate"), 0)
        self.redraw()

    def count(self) -> int:
        return len(self.fields)

    @property
    def field(self) -> FieldView | None:
        """The field under the cursor."""
        return self.fields[self.cursor] if self.cursor < len(self.fields) else None

    def value(self, field: FieldView) -> str:
        """The value of a field, by its type or as bytes."""
        return "".join(_PRINTABLE[byte] for byte in self.raw[field.start : field.end]) if self.view.raw else field.value

    def offers(self) -> list[Offer]:
        """The parts of the message to offer for copying: its selected field if the focus is here,
        else all of it.
        """
        if self.message is None:
            return []
        field = self.field
        chosen = self.raw[field.start : field.end] if field is not None and self.has_focus else self.raw
        return of_message(self.message, field, self.value, chosen)

    @property
    def page_lines(self) -> int:
        height = self.size.height - self.HEADS
        if self._beside(self.size.width) or self.message is None:
            return max(1, height)
        hex_lines = min(hexdump.line_count(len(self.raw), self.size.width), max(_HEX_LEAST, height - len(self.fields)))
        return max(1, height - hex_lines, min(len(self.fields), height // 2))

    def build(self, width: int, height: int) -> list[Strip]:
        margin = 0 if self.narrow else 1
        inner = width - margin
        self.keep_in_sight()
        listed = range(self.top, min(self.count(), self.top + self.page_lines))
        drawn: list[Strip] = [self._title(inner)]
        if self._beside(inner):
            left = inner - hexdump.WIDE - 2
            room = height - 1
            fields = [self.line(index, left, selected=index == self.cursor) for index in listed]
            dump = self._dump(hexdump.WIDE + 2, room)
            fields += [blank(self.view.pen, left)] * (room - len(fields))
            dump += [blank(self.view.pen, hexdump.WIDE + 2)] * (room - len(dump))
            drawn += [Strip.join(halves) for halves in zip(fields, dump, strict=True)]
        else:
            drawn += [self.line(index, inner, selected=index == self.cursor) for index in listed]
            if len(drawn) + hexdump.line_count(len(self.raw), inner) < height:
                drawn.append(blank(self.view.pen, inner))
            drawn += self._dump(inner, height - len(drawn))
        if not margin:
            return drawn
        drawn += [blank(self.view.pen, inner)] * (height - len(drawn))
        bar = Line(self.view.pen, 1).add("│", "faint").strip()
        return [Strip.join([bar, strip]) for strip in drawn]

    def line(self, index: int, width: int, *, selected: bool) -> Strip:
        field = self.fields[index]
        line = Line(self.view.pen, width, "selected" if selected else "background")
        line.add("▌" if selected else " ", "you" if self.has_focus else "dim")
        line.add("  " * field.depth + rowtext.plain(field.name, self._names), "dim", self._names).add(" ")
        kind = rowtext.plain(self._kind(field), 20)
        room = max(4, line.room - cells.width(kind) - 2)
        role = "attention" if field.name == "malformed" else "strong" if selected else "text"
        line.add(rowtext.plain(self.value(field), room, self.sideways if selected else 0), role, room)
        return line.to(width - cells.width(kind) - 1).add(kind, "dim").strip()

    def _kind(self, field: FieldView) -> str:
        """The letter of a field that has one, the meaning of format codes, else the type on the
        wire."""
        if field.wire_type == _LETTERED:
            return chr(self.raw[field.start])
        if field.name in _FORMATS:
            codes = set(re.findall(r"\d+", field.value))
            return _FORMAT_NAMES.get(codes.pop(), field.wire_type) if len(codes) == 1 else "mixed" if codes else "text"
        return field.wire_type

    def _title(self, width: int) -> Strip:
        message, pen = self.message, self.view.pen
        if message is None:
            return Line(pen, width).strip()
        side = "frontend" if message.side == FRONTEND else "backend"
        place = f"offset {figures.grouped(message.offset)}  {figures.grouped(message.size)} bytes"
        if self.narrow:
            return lines.rule(pen, width, f"{message.name}  {side}  {place}")
        line = Line(pen, width).add(" ").add(message.name, "strong").add("  ").add(side, side).add("  ")
        return line.add(place, "dim").strip()

    def _dump(self, width: int, height: int) -> list[Strip]:
        """The bytes around the selected field, in at most `height` lines."""
        message = self.message
        if message is None or height < 1:
            return []
        marked = (self.field.start, self.field.end) if self.field else (0, 0)
        total = hexdump.line_count(len(self.raw), width)
        before = marked[0] // hexdump.per_line(width) - height // 3
        first = max(0, min(max(0, before) + self.sideways // hexdump.per_line(width), total - height))
        numbers = range(first, min(total, first + height))
        drawn = [hexdump.hex_line(self.view.pen, width, self.raw, number, message.offset, marked) for number in numbers]
        if len(self.raw) < message.size and len(drawn) < height:
            missing = figures.grouped(message.size - len(self.raw))
            drawn.append(Line(self.view.pen, width).add(f"        … {missing} bytes more", "dim").strip())
        return drawn

    def _beside(self, width: int) -> bool:
        return width >= BESIDE


def _place(message: MessageView) -> tuple[int, int, int]:
    return message.side, message.offset, message.size
