from __future__ import annotations

from penstock.transforms.key_bounds import KeyBounds
from penstock.transforms.windows.aggregates import counting
from penstock.transforms.windows.counts import CountWindows
from penstock.transforms.windows.open_windows import Closed


def test_full_windows_go_out_before_those_that_make_room_for_later_items() -> None:
    evicted: list[int] = []
    windows = CountWindows(2, counting(), KeyBounds(1, None), evicted.append)
    keys = ["a", "a", "b", "c", "c", "d"]
    out = [
        (window.key, window.value)
        for event in windows.admit(keys, [0.0] * 6, keys, 0.0)
        if isinstance(event, Closed)
        for window in event.windows
    ]
    assert out == [("a", 2), ("b", 1), ("c", 2)]
    assert evicted == [1]
    assert windows.held == 1
