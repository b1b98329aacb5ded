"""What a row has found: a table of figures, targets met or missed, and notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from .trials import BUSY_CLIENT, Medians


@dataclass(frozen=True)
class Check:
    """A target and whether it was met."""

    text: str
    met: bool


@dataclass(frozen=True)
class RowResult:
    """The outcome of one row.

    Attributes:
        name: what ``--only`` calls it.
        title: what is compared.
        load: what was asked of the servers.
        header: the table's columns; `lines` are its lines, a contender each.
        checks: the targets; `ratios` are printed with none.
    """

    name: str
    title: str
    load: str
    header: list[str]
    lines: list[list[str]]
    checks: list[Check]
    ratios: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])

    @property
    def passed(self) -> bool:
        """Whether every target was met."""
        return all(check.met for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """For keeping it in a file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> RowResult:
        """The opposite of `as_dict`."""
        checks = [Check(**check) for check in kept["checks"]]
        return cls(**{**kept, "checks": checks})


def all_delivered(found: Medians, name: str) -> Check:
    """Every event to every reader, in order, without a gap, in every round."""
    delivered, expected = sum(found.all(name, "delivered")), sum(found.all(name, "expected"))
    wrong = {
        what: sum(found.all(name, figure))
        for what, figure in (("holes", "disordered"), ("gaps", "gaps"), ("closed", "closed"))
    }
    text = f"all delivered, in order: {delivered:,.0f} of {expected:,.0f}"
    text += "".join(f", {number:,.0f} {what}" for what, number in wrong.items() if number)
    return Check(text, 0 < expected == delivered and not any(wrong.values()))


def no_holes(found: Medians, name: str) -> Check:
    """In order, and none left out between two others, which is all that a flood can promise."""
    received = sum(found.all(name, "received"))
    wrong = sum(sum(found.all(name, what)) for what in ("disordered", "gaps", "closed"))
    text = f"in order, no holes: {received:,.0f} received, {wrong:,.0f} holes, gaps or closed"
    return Check(text, received > 0 and not wrong)


def full_rate(found: Medians, name: str, rate: float) -> Check:
    """The events came at the rate asked for, so the load was the one meant."""
    slowest = min(found.all(name, "rate"))
    return Check(f"at least 95 % of the events asked for: {slowest:.1f}/s", slowest >= 0.95 * rate)


def at_most(found: Medians, figure: str, label: str, other: str, factor: float = 1.0) -> Check:
    """Penstock's median is at most `factor` times another's."""
    ratio = found.ratio("penstock", other, figure)
    wanted = "at most" if factor == 1 else f"at most {factor:g} times"
    return Check(f"{label} {wanted} {other}'s: {ratio:.2f} times", 0 < ratio <= factor)


def at_least(found: Medians, figure: str, label: str, other: str, factor: float = 1.0) -> Check:
    """Penstock's median is at least `factor` times another's."""
    ratio = found.ratio("penstock", other, figure)
    wanted = "at least" if factor == 1 else f"at least {factor:g} times"
    return Check(f"{label} {wanted} {other}'s: {ratio:.2f} times", ratio >= factor)


def _share(share: float) -> str:
    return "unknown" if share < 0 else f"{share:.0%}"


Figures = Callable[[str], float]
_COLUMNS: dict[str, Callable[[Figures], str]] = {
    "events/s": lambda of: f"{of('received_rate'):.1f}",
    "delivered": lambda of: f"{of('delivered') / max(1.0, of('expected')):.2%}",
    "p50": lambda of: f"{of('p50_ms'):.1f} ms",
    "p99": lambda of: f"{of('p99_ms'):.1f} ms",
    "max": lambda of: f"{of('max_ms'):.1f} ms",
    "CPU": lambda of: f"{of('cpu_share'):.1%}",
    "CPU a delivery": lambda of: f"{of('cpu_us'):.2f} µs",
    "deliveries / CPU s": lambda of: f"{of('per_cpu_second'):,.0f}",
    "events a write": lambda of: f"{of('events_a_write'):.2f}" if of("units") else "unknown",
    "memory a connection": lambda of: f"{of('connection_bytes') / 1024:.1f} KiB",
    "client's CPU": lambda of: _share(of("client_cpu_share")),
    "others": lambda of: _share(of("others_share")),
}
PACED_COLUMNS = tuple(_COLUMNS)
FLOOD_COLUMNS = tuple(name for name in _COLUMNS if name not in ("delivered", "p50", "p99", "max"))
"""A flood's latencies are those of the buffers between the producer and the readers."""


def reading_lines(found: Medians, columns: Sequence[str]) -> list[list[str]]:
    """A line for each contender: its name and the medians that `columns` names."""
    return [
        [name, *(_COLUMNS[column](partial(found.of, name)) for column in columns)]
        for name in found.names
    ]


def client_notes(found: Medians) -> list[str]:
    """A warning where the client had so much to do that it may have measured itself."""
    busiest = max((trial["client_cpu_share"] for trial in found.trials), default=0.0)
    if busiest < BUSY_CLIENT:
        return []
    return [f"the client used up to {busiest:.0%} of its core: it may be what was measured"]


def missing(found: Medians, wanted: list[str]) -> list[str]:
    """Which contenders were not installed."""
    return [f"{name} is not installed here" for name in wanted if name not in found.names]
