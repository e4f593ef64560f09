"""The first line: what is being traced, whether it is live, and how fast it goes."""

from __future__ import annotations

from textual import events
from textual.strip import Strip

from pgtrace.tui.model import cells, figures, rowtext
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets.base import LineWidget
from pgtrace.tui.widgets.lines import Line

BEHIND_S = 1.0
"""From this delay on, the line says that the view is behind, in seconds."""
_TITLE_LEAST = 8


def state(view: View) -> tuple[str, str]:
    """The state of the source, and its role."""
    trace = view.trace
    length = figures.span(view.reading.now_ns)
    if view.reading.paused:
        return f"❚❚ paused  {view.reading.waiting} new" if view.reading.waiting else "❚❚ paused", "attention"
    if view.reading.growing:
        if view.source.listener and view.recorder is not None and not view.recorder.alive:
            return "■ the recorder has ended", "error"
        if view.upstream_refused:
            return "✗ upstream refused", "error"
        return f"● live {length}" if trace.start_ns else "● live", "frontend"
    if view.reading.catching_up:
        return f"reading {100 * trace.read_bytes // max(1, trace.size_bytes)} %", "attention"
    if trace.torn_bytes:
        return f"■ truncated  last {trace.torn_bytes} bytes are half a record; everything before is complete", "attention"
    if not trace.ended:
        return f"■ ended without an end record  {length}", "attention"
    return f"■ {length}", "dim"


class Status(LineWidget):
    """The status line. The state gets space first, then the title, then the rate; the sparkline
    gets the rest.
    """

    def build(self, width: int, height: int) -> list[Strip]:
        view = self.view
        parts = [state(view)]
        if view.reading.growing and view.rtt_ns:
            parts.append((f"rtt {view.rtt_ns / 1e6:g} ms", "attention"))
        if view.marked:
            parts.append((f"mark {rowtext.plain(view.marked, 20)}", "attention"))
        if view.reading.behind_s > BEHIND_S:
            parts.append((f"view {view.reading.behind_s:.1f} s behind", "attention"))
        if view.snapshot.gaps:
            parts.append((f"{view.snapshot.gaps} gap{'s' if view.snapshot.gaps > 1 else ''}: counts are lower bounds", "attention"))
        rate = f"{view.reading.rates.per_second:.0f} rt/s " if view.reading.growing else ""
        sparkline = view.reading.rates.sparkline() if view.reading.growing else ""

        wide = width > 90
        line = Line(view.pen, width).add(" ").add("pgtrace", "you").add("  " if wide else " ")
        states = sum(cells.width(view.pen.text(text)) + 2 for text, _ in parts)
        line.add(rowtext.plain(view.source.title, max(_TITLE_LEAST, line.room - states - len(rate) - 2))).add(" " if wide else "")
        for text, role in parts:
            line.add("  ").add(text, role)
        room = line.room - len(rate) - 3
        if rate and room >= 0:
            newest = sparkline[-room:] if room else ""
            line.to(width - len(rate) - len(newest) - 1).add(rate)
            for block, failed in zip(newest, view.reading.rates.failed()[-len(newest) :], strict=False):
                line.add(block, "error" if failed else "bar")
        return [line.strip()]

    async def on_click(self, event: events.Click) -> None:
        """Pause or continue at a click."""
        event.stop()
        await self.run_action("screen.pause")
