"""What was measured, as a Markdown table.

Machines drift, so nothing is compared across turns: what a route adds, and every ratio to the bare
forwarder, is computed within each turn; the table shows the median over the turns. So a ratio need
not be exactly the quotient of two other cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from bench.measure import Latency
from bench.routes import BARE, DIRECT, PGTRACE, WATCHED

ADDED_BAR = 1.1
TPS_BAR = 0.95
COPY_BAR = 0.95
IDLE_BAR_KIB = 16
WATCHED_BAR = 1.1
WATCHED_TPS_BAR = 0.9
HEADER = (
    "path",
    "median",
    "added",
    "added / bare",
    "p99",
    "CPU per round trip",
    "transactions/s",
    "transactions / bare",
    "COPY",
    "COPY / bare",
    "idle connection",
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, by the name of the route; `tps` and `copy` (megabytes per second) are empty without pgbench."""

    latency: dict[str, Latency]
    tps: dict[str, float]
    copy: dict[str, float]

    def added_us(self, name: str) -> float:
        """What the route adds to the direct round trip."""
        return self.latency[name].median_us - self.latency[DIRECT].median_us

    def added_ratio(self, name: str) -> float:
        """The same, for what the bare forwarder adds."""
        return self.added_us(name) / self.added_us(BARE)

    def tps_ratio(self, name: str) -> float | None:
        """Throughput, for the bare forwarder's."""
        return self.tps[name] / self.tps[BARE] if self.tps else None

    def copy_ratio(self, name: str) -> float | None:
        """The COPY, for the bare forwarder's."""
        return self.copy[name] / self.copy[BARE] if self.copy else None

    def watched_ratio(self) -> float | None:
        """The median with a TUI following, for that without."""
        return self.latency[WATCHED].median_us / self.latency[PGTRACE].median_us if WATCHED in self.latency else None

    def watched_tps_ratio(self) -> float | None:
        """The transactions with a TUI following, for those without."""
        return self.tps[WATCHED] / self.tps[PGTRACE] if WATCHED in self.tps else None


def markdown(names: list[str], turns: list[Turn], idle_kib: dict[str, float]) -> str:
    """The table; a route without figures is not installed."""
    lines = ["| " + " | ".join(HEADER) + " |", "|---" + "|---:" * (len(HEADER) - 1) + "|"]
    lines += ["| " + " | ".join(_cells(name, turns, idle_kib)) + " |" for name in names]
    return "\n".join(lines)


def middle(turns: list[Turn], value: Callable[[Turn], float | None]) -> float | None:
    """The median over the turns, None where no turn has the figure."""
    values = [figure for turn in turns if (figure := value(turn)) is not None]
    return median(values) if values else None


def _cells(name: str, turns: list[Turn], idle_kib: dict[str, float]) -> list[str]:
    title = f"**{name}**" if name == PGTRACE else name
    if name not in turns[0].latency:
        return [title, "not installed", *[""] * (len(HEADER) - 2)]
    figures: list[tuple[str, float | None]] = [
        ("{:.0f} µs", middle(turns, lambda turn: turn.latency[name].median_us)),
        ("{:.0f} µs", middle(turns, lambda turn: None if name == DIRECT else turn.added_us(name))),
        ("{:.2f}", middle(turns, lambda turn: None if name == DIRECT else turn.added_ratio(name))),
        ("{:.0f} µs", middle(turns, lambda turn: turn.latency[name].p99_us)),
        ("{:.0f} µs", middle(turns, lambda turn: turn.latency[name].cpu_us)),
        ("{:,.0f}", middle(turns, lambda turn: turn.tps.get(name))),
        ("{:.2f}", middle(turns, lambda turn: turn.tps_ratio(name))),
        ("{:.0f} MB/s", middle(turns, lambda turn: turn.copy.get(name))),
        ("{:.2f}", middle(turns, lambda turn: turn.copy_ratio(name))),
        ("{:.1f} KiB", idle_kib.get(name)),
    ]
    return [title, *("·" if figure is None else form.format(figure) for form, figure in figures)]


def missed_bars(turns: list[Turn], idle_kib: dict[str, float]) -> list[str]:
    """What pgtrace promises and this run did not show."""
    added = middle(turns, lambda turn: turn.added_ratio(PGTRACE))
    tps = middle(turns, lambda turn: turn.tps_ratio(PGTRACE))
    copy = middle(turns, lambda turn: turn.copy_ratio(PGTRACE))
    watched, watched_tps = middle(turns, Turn.watched_ratio), middle(turns, Turn.watched_tps_ratio)
    missed = []
    if added is not None and added > ADDED_BAR:
        missed.append(f"pgtrace adds {added:.3f} times what the bare forwarder adds; at most {ADDED_BAR} is promised")
    if tps is not None and tps < TPS_BAR:
        missed.append(f"pgtrace passes {tps:.3f} of the bare forwarder's transactions; at least {TPS_BAR} is promised")
    if copy is not None and copy < COPY_BAR:
        missed.append(f"a COPY through pgtrace has {copy:.3f} of the bare forwarder's speed; at least {COPY_BAR} is promised")
    if idle_kib.get(PGTRACE, 0) > IDLE_BAR_KIB:
        missed.append(f"an idle connection takes {idle_kib[PGTRACE]:.1f} KiB; at most {IDLE_BAR_KIB} are promised")
    if watched is not None and watched > WATCHED_BAR:
        missed.append(f"a round trip takes {watched:.3f} times as long while a TUI follows; at most {WATCHED_BAR} is promised")
    if watched_tps is not None and watched_tps < WATCHED_TPS_BAR:
        missed.append(f"{watched_tps:.3f} of the transactions pass while a TUI follows; at least {WATCHED_TPS_BAR} is promised")
    return missed
