"""What is compared under live load: event streams, WebSockets, floods, TLS, a stalled reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from .contenders import (
    Contender,
    nchan,
    node_ws,
    penstock,
    penstock_websocket,
    sse_starlette,
    websockets,
)
from .results import (
    FLOOD_COLUMNS,
    PACED_COLUMNS,
    Check,
    RowResult,
    all_delivered,
    at_least,
    at_most,
    client_notes,
    full_rate,
    missing,
    no_holes,
    reading_lines,
)
from .trials import Load, Medians, Trial, in_turn, read

RATE = 100.0
ORDINARY_READERS = 200
MAX_ORDINARY_P99_MS = 100.0
STALLED_HISTORY = 10_000
MAX_STALLED_RATIO = 1.2
FLOOD_NAP = 5


@dataclass(frozen=True)
class Settings:
    """How much is asked for.

    Attributes:
        readers: of the rows that are not about another number.
        seconds: measured in each run.
        rounds: how often the contenders of a row run in turn.
        warm_up: seconds before the measured time.
    """

    readers: int
    seconds: float
    rounds: int
    warm_up: float

    def load(self, rate: float = RATE) -> Load:
        """The load of a live row."""
        return Load(self.readers, rate, self.seconds, self.warm_up)


def _described(load: Load, settings: Settings) -> str:
    rate = f"{load.rate:g} events/s" if load.rate else "as many events as they take"
    return (
        f"{load.readers:,} readers, {rate} of 100 bytes, {load.seconds:g} s,"
        f" median of {settings.rounds}"
    )


def _compare(contenders: Sequence[Contender], load: Load, settings: Settings) -> Medians:
    return in_turn(contenders, settings.rounds, partial(read, load=load))


def _against(found: Medians, load: Load) -> list[str]:
    peers = [name for name in found.names if name != "penstock"]
    if len(peers) == len(found.names):
        return []
    compared = {"CPU a delivery": "cpu_us", "deliveries a CPU second": "per_cpu_second"}
    if load.rate:
        compared |= {"p50": "p50_ms", "p99": "p99_ms"}
    return [
        f"penstock / {peer}: "
        + ", ".join(
            f"{label} {found.ratio('penstock', peer, figure):.2f}"
            for label, figure in compared.items()
        )
        for peer in peers
    ]


def _live_result(
    name: str, title: str, load: Load, settings: Settings, found: Medians, checks: list[Check]
) -> RowResult:
    columns = PACED_COLUMNS if load.rate else FLOOD_COLUMNS
    return RowResult(
        name=name,
        title=title,
        load=_described(load, settings),
        header=["server", *columns],
        lines=reading_lines(found, columns),
        checks=checks,
        ratios=_against(found, load),
        notes=client_notes(found),
    )


def event_streams(settings: Settings) -> RowResult:
    """Server-sent events against nchan and sse-starlette."""
    load = settings.load()
    found = _compare([penstock(), nchan(), sse_starlette()], load, settings)
    checks = [all_delivered(found, "penstock"), full_rate(found, "penstock", load.rate)]
    if "nchan" in found.names:
        checks.append(at_most(found, "cpu_us", "CPU a delivery", "nchan"))
        checks.append(at_most(found, "p99_ms", "p99", "nchan"))
    if "sse-starlette" in found.names:
        label = "deliveries a CPU second"
        checks.append(at_least(found, "per_cpu_second", label, "sse-starlette", 5))
    result = _live_result("sse", "Server-sent events", load, settings, found, checks)
    return replace(result, notes=result.notes + missing(found, ["nchan", "sse-starlette"]))


def web_sockets(settings: Settings) -> RowResult:
    """The same on WebSocket, against Node's ws and websockets."""
    load = settings.load()
    found = _compare([penstock_websocket(), node_ws(), websockets()], load, settings)
    checks = [all_delivered(found, "penstock"), full_rate(found, "penstock", load.rate)]
    for peer in found.names:
        if peer != "penstock":
            checks.append(at_most(found, "cpu_us", "CPU a delivery", peer))
            checks.append(at_most(found, "p99_ms", "p99", peer))
    result = _live_result("websocket", "WebSocket", load, settings, found, checks)
    return replace(result, notes=result.notes + missing(found, ["Node ws", "websockets"]))


def saturation(settings: Settings) -> RowResult:
    """As many events as the readers take, one write an event."""
    load = replace(settings.load(rate=0), nap=FLOOD_NAP)
    contenders = [penstock_websocket("flood"), websockets(), node_ws()]
    found = _compare(contenders, load, settings)
    ratio = max(found.all("penstock", "events_a_write"))
    checks = [
        no_holes(found, "penstock"),
        Check(f"one write an event: {ratio:.2f} events a frame", 0 < ratio < 1.005),
    ]
    checks += [
        at_least(found, "per_cpu_second", "deliveries a CPU second", peer)
        for peer in found.names
        if peer != "penstock"
    ]
    title = "Saturated fan-out on WebSocket, one write an event"
    result = _live_result("flood", title, load, settings, found, checks)
    return replace(result, notes=result.notes + missing(found, ["Node ws", "websockets"]))


def ordinary_lane(settings: Settings) -> RowResult:
    """Server-sent events through TLS, where sockets can't be written to directly."""
    load = replace(settings.load(), readers=ORDINARY_READERS, tls=True)
    found = _compare([penstock(), sse_starlette()], load, settings)
    p99 = found.of("penstock", "p99_ms")
    checks = [
        all_delivered(found, "penstock"),
        full_rate(found, "penstock", load.rate),
        Check(f"p99 under {MAX_ORDINARY_P99_MS:g} ms: {p99:.1f} ms", 0 < p99 < MAX_ORDINARY_P99_MS),
    ]
    title = "The ordinary lane: server-sent events over TLS"
    result = _live_result("tls", title, load, settings, found, checks)
    return replace(result, notes=result.notes + missing(found, ["sse-starlette"]))


def one_stalled(settings: Settings) -> RowResult:
    """One more reader that asks for a long history and never reads it."""
    load = settings.load()
    plain = replace(penstock(FANOUT_HISTORY=str(STALLED_HISTORY)), name="none stalled")
    stalled = replace(plain, name="one stalled")
    path = f"{plain.path}?after=earliest"

    def run(contender: Contender) -> Trial:
        if contender is plain:
            return read(contender, load)
        return read(contender, replace(load, stalled=1, stalled_path=path))

    found = in_turn([plain, stalled], settings.rounds, run)
    ratio = found.ratio("one stalled", "none stalled", "p99_ms")
    checks = [
        all_delivered(found, "one stalled"),
        Check(f"the others' p99 within 20 %: {ratio:.2f} times", 0 < ratio <= MAX_STALLED_RATIO),
    ]
    return _live_result("stalled", "One reader stalled", load, settings, found, checks)
