"""What was measured, as a Markdown table.

Machines drift, so nothing is compared across turns: what a route adds, and every ratio to the bare forwarder, is computed within each turn; the table shows
the median over the turns. So a ratio need not be exactly the quotient of two other cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from bench.measure import Latency
from bench.routes import BARE, DIRECT, PGTRACE

ADDED_BAR = 1.3
TPS_BAR = 0.85
HEADER = ("path", "median", "added", "added / bare", "p99", "CPU per round trip", "transactions/s", "transactions / bare")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, by the name of the route; `tps` is empty without pgbench."""

    latency: dict[str, Latency]
    tps: dict[str, float]

    def added_us(self, name: str) -> float:
        """What the route adds to the direct round trip."""
        return self.latency[name].median_us - self.latency[DIRECT].median_us

    def added_ratio(self, name: str) -> float:
        """The same, for what the bare forwarder adds."""
        return self.added_us(name) / self.added_us(BARE)

    def tps_ratio(self, name: str) -> float:
        """Throughput, for the bare forwarder's."""
        return self.tps[name] / self.tps[BARE]


def markdown(names: list[str], turns: list[Turn]) -> str:
    """The table; a route without figures is not installed."""
    lines = ["| " + " | ".join(HEADER) + " |", "|---" + "|---:" * (len(HEADER) - 1) + "|"]
    lines += ["| " + " | ".join(_cells(name, turns)) + " |" for name in names]
    return "\n".join(lines)


def _cells(name: str, turns: list[Turn]) -> list[str]:
    title = f"**{name}**" if name == PGTRACE else name
    if name not in turns[0].latency:
        return [title, "not installed", *[""] * (len(HEADER) - 2)]

    def middle(form: str, value: Callable[[Turn], float | None]) -> str:
        values = [figure for turn in turns if (figure := value(turn)) is not None]
        return form.format(median(values)) if values else "·"

    return [
        title,
        middle("{:.0f} µs", lambda turn: turn.latency[name].median_us),
        middle("{:.0f} µs", lambda turn: None if name == DIRECT else turn.added_us(name)),
        middle("{:.2f}", lambda turn: None if name == DIRECT else turn.added_ratio(name)),
        middle("{:.0f} µs", lambda turn: turn.latency[name].p99_us),
        middle("{:.0f} µs", lambda turn: turn.latency[name].cpu_us),
        middle("{:,.0f}", lambda turn: turn.tps.get(name)),
        middle("{:.2f}", lambda turn: turn.tps_ratio(name) if turn.tps else None),
    ]


def missed_bars(turns: list[Turn]) -> list[str]:
    """What pgtrace promises and this run did not show."""
    missed = []
    if (added := median(turn.added_ratio(PGTRACE) for turn in turns)) > ADDED_BAR:
        missed.append(f"pgtrace adds {added:.2f} times what the bare forwarder adds; at most {ADDED_BAR} is promised")
    if turns[0].tps and (share := median(turn.tps_ratio(PGTRACE) for turn in turns)) < TPS_BAR:
        missed.append(f"pgtrace passes {share:.2f} of the bare forwarder's transactions; at least {TPS_BAR} is promised")
    return missed
