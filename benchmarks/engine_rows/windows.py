"""Counting a million events of 10,000 keys in tumbling windows of their own time.

`key_by` and a window by event time, against a plain loop that counts in a dict, and against bytewax
and streamz. All must give the loop's counts. Events come in order, 15 of each key a window; the
peers get fewer of them, and rates are compared. bytewax takes times as datetimes and is given such.
streamz has no windows by event time: it gets a state that gives the counts of a window that has
ended. Targets: at least 0.2 of the loop's speed, and ahead of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import islice

import penstock as ps

from ..engine_peers import installed
from ..figures import Figure, in_turn, missing, ratio, summary
from ..rows import Effort, Row
from .measuring import rate
from .work import KEYS, WINDOW, Counts, Event, count_in_a_loop, events, key_of, time_of

ITEMS = 1_000_000
SHARE = 0.2
PEERS = {"bytewax": 0.2, "streamz": 0.1}
"""The share of the events that they get, so that none takes more than a few seconds."""


def count_windows(found: Iterable[Event]) -> Counts:
    windows = ps.run(
        ps.from_iterable(found)
        .key_by(key_of, max_keys=KEYS)
        .window(ps.tumbling(WINDOW), time=time_of)
        .count()
        .to(ps.collect())
    )
    return {(window.key, int(window.start // WINDOW)): window.value for window in windows}


def measure(effort: Effort) -> list[Figure]:
    """The loop and penstock in turn, then penstock and the peers, in fewer turns."""
    found = list(events(int(ITEMS * effort.scale)))
    expected = count_in_a_loop(found)
    ours = partial(rate, partial(count_windows, found), len(found), expected)
    loop = partial(rate, partial(count_in_a_loop, found), len(found), expected)
    rates = in_turn({"loop": loop, "penstock": ours}, effort.rounds)
    figures = [summary(f"{name}, k items/s", rates[name]) for name in rates]
    figures.append(ratio("penstock / loop", rates["penstock"], rates["loop"], SHARE))
    return [*figures, *_against_peers(found, ours, replace(effort, rounds=-(-effort.rounds // 3)))]


def _against_peers(found: list[Event], ours: Callable[[], float], effort: Effort) -> list[Figure]:
    peers = installed(tuple(PEERS))
    works = {"penstock": ours}
    for name, peer in peers.items():
        fewer = list(islice(found, int(len(found) * PEERS[name])))
        given = peer.dated(fewer) if hasattr(peer, "dated") else fewer
        works[name] = partial(
            rate, partial(peer.count_windows, given), len(fewer), count_in_a_loop(fewer)
        )
    rates = in_turn(works, effort.rounds)
    return [
        *(summary(f"{name}, k items/s", rates[name]) for name in peers),
        *(ratio(f"penstock / {name}", rates["penstock"], rates[name], 1.0) for name in peers),
        *(missing(name) for name in PEERS if name not in peers),
    ]


ROW = Row("key_by over 10,000 keys and a tumbling count of 1 M events, by their time", measure)
