from __future__ import annotations

from typing import Any

from penstock.transforms.key_bounds import KeyBounds
from penstock.transforms.windows.aggregates import counting
from penstock.transforms.windows.counts import CountWindows
from penstock.transforms.windows.open_windows import Closed, Events


def test_full_windows_go_out_before_those_that_make_room_for_later_items() -> None:
    evicted: list[int] = []
    windows = CountWindows(2, counting(), KeyBounds(1, None), evicted.append)
    keys = ["a", "a", "b", "c", "c", "d"]
    out = closed(windows.admit(keys, [0.0] * 6, keys, 0.0))
    assert out == [("a", 2), ("b", 1), ("c", 2)]
    assert evicted == [1]
    assert closed(windows.end()) == [("d", 1)]


def closed(events: Events) -> list[tuple[Any, Any]]:
    ended = [window for event in events if isinstance(event, Closed) for window in event.windows]
    return [(window.key, window.value) for window in ended]
