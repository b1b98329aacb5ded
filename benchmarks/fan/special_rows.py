"""The rows that are about something else than live events: idle ones, resuming, publishing."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import replace
from functools import partial
from typing import Any

from .client import client
from .contenders import Contender, Served, nchan, penstock, serving
from .machine import allow_descriptors, cores
from .processes import Usage
from .results import Check, RowResult, missing
from .rows import RATE, Settings
from .trials import Load, Trial, cost_of, in_turn, read

IDLE_CONNECTIONS = 10_000
IDLE_SECONDS = 18.0
"""More than the 15 seconds between two keepalives, so that each reader must get one."""
MAX_IDLE_KB = 30.0
MAX_IDLE_CPU = 0.2
SPARE_DESCRIPTORS = 500
MISSED = 1000
MAX_RESUME_SECONDS = 5.0
PUBLISHERS = 16


def idle(settings: Settings) -> RowResult:
    """Readers of a topic on which nothing happens."""
    del settings  # the row's own numbers are what it is about
    count = min(IDLE_CONNECTIONS, allow_descriptors() - SPARE_DESCRIPTORS)
    trial = read(penstock("quiet"), Load(count, 0, IDLE_SECONDS, 2))
    kilobytes = trial["connection_bytes"] / 1000
    fewest, share = trial["fewest_comments"], trial["cpu_share"]
    others = trial["others_share"]
    return RowResult(
        name="idle",
        title="Idle connections",
        load=f"{count:,} idle event streams, {IDLE_SECONDS:g} s, keepalives every 15 s, 1 run",
        header=["server", "connected in", "memory a connection", "CPU", "keepalives", "others"],
        lines=[
            [
                "penstock",
                f"{trial['connect_seconds']:.1f} s",
                f"{kilobytes:.1f} KB",
                f"{share:.1%}",
                f"{trial['comments']:,.0f}",
                "unknown" if others < 0 else f"{others:.0%}",
            ]
        ],
        checks=[
            Check(
                f"{IDLE_CONNECTIONS:,} stay connected: {count - trial['closed']:,.0f}",
                count == IDLE_CONNECTIONS and not trial["closed"],
            ),
            Check(f"at most {MAX_IDLE_KB:g} KB each: {kilobytes:.1f} KB", kilobytes <= MAX_IDLE_KB),
            Check(f"a keepalive for each: {fewest:.0f} or more", fewest >= 1),
            Check(f"under {MAX_IDLE_CPU:.0%} of a core: {share:.1%}", share < MAX_IDLE_CPU),
        ],
    )


def resuming(settings: Settings) -> RowResult:
    """Many clients that come back at once, each having missed 1,000 events."""
    trial_of = partial(_resume, readers=settings.readers)
    contender = penstock(FANOUT_HISTORY=str(2 * MISSED))
    found = in_turn([contender], settings.rounds, trial_of)
    slowest = max(found.all("penstock", "max_ms")) / 1e3
    delivered, expected = (sum(found.all("penstock", what)) for what in ("delivered", "expected"))
    wrong = sum(sum(found.all("penstock", what)) for what in ("disordered", "gaps", "closed"))
    served = found.of("penstock", "finished_readers")
    return RowResult(
        name="resume",
        title="Resuming",
        load=f"{settings.readers:,} clients at once with a cursor {MISSED:,} events old, while"
        f" {RATE:g} events/s go on; median of {settings.rounds}",
        header=["server", "half served in", "all served in", "events", "CPU seconds"],
        lines=[
            [
                "penstock",
                f"{found.of('penstock', 'p50_ms') / 1e3:.2f} s",
                f"{found.of('penstock', 'max_ms') / 1e3:.2f} s",
                f"{found.of('penstock', 'delivered'):,.0f}",
                f"{found.of('penstock', 'cpu_seconds'):.2f}",
            ]
        ],
        checks=[
            Check(
                f"all served within {MAX_RESUME_SECONDS:g} s: {served:,.0f} of"
                f" {settings.readers:,}, the slowest round {slowest:.2f} s",
                served == settings.readers and 0 < slowest <= MAX_RESUME_SECONDS,
            ),
            Check(
                f"nothing lost: {delivered:,.0f} of {expected:,.0f} events, {wrong:.0f} holes",
                0 < expected == delivered and not wrong,
            ),
        ],
    )


def _resume(contender: Contender, readers: int) -> Trial:
    server_core, client_core = cores() or (None, None)
    with serving(contender, RATE, server_core) as served:
        latest = _newest(served, contender.path)
        epoch, _, offset = str(latest["id"]).partition("-")
        missed_from = int(offset, 36) - MISSED
        header = f"Last-Event-ID: {epoch}-{base36(missed_from)}"
        start = Usage.of(served.process, server_core)
        options: dict[str, str | float] = {
            "path": contender.path,
            "connections": readers,
            "at_once": readers,
            "wanted": MISSED,
            "first": latest["data"]["tick"] - MISSED + 1,
            "header": header,
        }
        with client(client_core, mode="resume", port=served.port, **options) as clients:
            result = clients.line()
        used = Usage.of(served.process, server_core).own - start.own
    figures = {"cpu_seconds": used, "expected": float(readers * MISSED)}
    return Trial(contender.name, {**result, **figures})


def _newest(served: Served, path: str) -> dict[str, Any]:
    """The newest event of a topic that has its history by now."""
    url = f"http://127.0.0.1:{served.port}{path}?format=json&limit=1000&after="
    after = "earliest"
    deadline = time.monotonic() + 10
    newest: dict[str, Any] | None = None
    while time.monotonic() < deadline:
        with urllib.request.urlopen(url + after, timeout=10) as answer:
            page = json.load(answer)
        if page["events"]:
            newest, after = page["events"][-1], page["next"]
        elif newest is not None:
            return newest
    raise SystemExit("the topic has no history to resume from")


def base36(number: int) -> str:
    """As cursors write their offsets."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"


def publishing(settings: Settings) -> RowResult:
    """How many publications a second the server acknowledges, one event each."""
    inbox = penstock("inbox")
    penstock_publish = {
        "mode": "publish", "websocket": "1", "path": "/ws", "protocol": "penstock.v1.json",
        "message": '[{"type":"publish","topic":"inbox","data":@,"ref":1}]',
        "reply": '"type":"published"',
    }  # fmt: skip
    nchan_publish = {
        "mode": "publish", "websocket": "1", "path": "/publish", "message": "@", "reply": "queued",
    }  # fmt: skip
    contenders = [
        _publisher(inbox, "penstock, HTTP", {"mode": "post", "path": "/topics/inbox"}),
        _publisher(nchan(), "nchan, HTTP", {"mode": "post", "path": "/publish"}),
        _publisher(inbox, "penstock, WebSocket", penstock_publish),
        _publisher(nchan(), "nchan, WebSocket", nchan_publish),
    ]
    found = in_turn(contenders, settings.rounds, partial(_publish, settings=settings))

    def line(name: str) -> list[str]:
        return [
            name,
            f"{found.of(name, 'rate'):,.0f}",
            f"{found.of(name, 'per_cpu_second'):,.0f}",
            f"{found.of(name, 'p50_ms'):.2f} ms",
            f"{found.of(name, 'p99_ms'):.2f} ms",
            f"{found.of(name, 'cpu_share'):.0%}",
            f"{found.of(name, 'client_cpu_share'):.0%}",
        ]

    ratios = [
        f"penstock / nchan, {way}: events/s"
        f" {found.ratio(f'penstock, {way}', f'nchan, {way}', 'rate'):.2f}"
        for way in ("HTTP", "WebSocket")
        if f"nchan, {way}" in found.names
    ]
    return RowResult(
        name="publish",
        title="Publishing",
        load=f"one event of 100 bytes a request over {PUBLISHERS} HTTP connections, and a message"
        f" over one WebSocket with 64 under way; {settings.seconds:g} s,"
        f" median of {settings.rounds}",
        header=["server", "events/s", "events / CPU s", "p50", "p99", "CPU", "client's CPU"],
        lines=[line(name) for name in found.names],
        checks=[],
        ratios=ratios,
        notes=missing(found, ["nchan, HTTP"]),
    )


def _publisher(contender: Contender, name: str, options: dict[str, str]) -> Contender:
    return replace(contender, name=name, client=options)


def _publish(contender: Contender, settings: Settings) -> Trial:
    server_core, client_core = cores() or (None, None)
    options: dict[str, str | float] = {
        "connections": PUBLISHERS,
        "seconds": settings.seconds,
        "warm_up": settings.warm_up,
        **contender.client,
    }
    with (
        serving(contender, 0, server_core) as served,
        client(client_core, port=served.port, **options) as publishers,
    ):
        cost = cost_of(served, publishers.line(), server_core)
        result = publishers.line()
    rate = result["published"] / settings.seconds
    per_cpu_second = rate / max(1e-9, cost["cpu_share"])
    return Trial(contender.name, {**cost, **result, "rate": rate, "per_cpu_second": per_cpu_second})
