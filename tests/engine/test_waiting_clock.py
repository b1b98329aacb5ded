from __future__ import annotations

import trio
from trio.testing import MockClock

from penstock._waiting_clock import WaitingClock


async def test_it_goes_on_only_while_items_are_waited_for(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    clock = WaitingClock()
    await trio.sleep(1)
    assert clock.now == start + 1
    clock.stop()
    await trio.sleep(10)
    assert clock.now == start + 1
    clock.go_on()
    assert clock.now == start + 1
    await trio.sleep(2)
    assert clock.now == start + 3
    assert clock.due(start + 5) == trio.current_time() + 2


async def test_it_stands_while_any_of_several_is_busy(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    clock = WaitingClock()
    clock.stop()
    await trio.sleep(1)
    clock.stop()
    await trio.sleep(1)
    clock.go_on()
    await trio.sleep(1)
    assert clock.now == start
    clock.go_on()
    await trio.sleep(1)
    assert clock.now == start + 1
