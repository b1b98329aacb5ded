"""Map, filter, map and fold against other engines for streams in Python.

All call the same functions for the same ints, in one task or the nearest thing to it, and must give
what the loop gives. The slower ones get fewer items: rates are compared. Target: ahead of every one
that is installed.
"""

from __future__ import annotations

from functools import partial

from ..engine_peers import PEERS, installed
from ..figures import Figure, in_turn, missing, ratio, summary
from ..rows import Effort, Row
from .loops import ITEMS, fused
from .measuring import rate
from .work import sum_in_a_loop

SHARES = {"aiostream": 0.1, "bytewax": 0.5, "reactivex": 0.5, "streamz": 0.05}
"""Of the items, so that none takes more than a few seconds."""


def measure(effort: Effort) -> list[Figure]:
    """All in turn."""
    peers = installed()
    numbers = {name: int(ITEMS * effort.scale * SHARES.get(name, 1.0)) for name in PEERS}
    numbers["penstock"] = int(ITEMS * effort.scale)
    expected = {name: sum_in_a_loop(number) for name, number in numbers.items()}
    works = {"penstock": partial(fused, numbers["penstock"])}
    works |= {name: partial(peer.sum_of, range(numbers[name])) for name, peer in peers.items()}
    rates = in_turn(
        {name: partial(rate, work, numbers[name], expected[name]) for name, work in works.items()},
        effort.rounds,
    )
    return [
        *(summary(f"{name}, k items/s", rates[name]) for name in rates),
        *(ratio(f"penstock / {name}", rates["penstock"], rates[name], 1.0) for name in peers),
        *(missing(name) for name in PEERS if name not in peers),
    ]


ROW = Row("map, filter, map, fold over ints, against other engines", measure)
