"""How late the event loop is."""

import time

import trio
from trio.testing import MockClock

from penstock_server.loop_delay import LoopDelay


async def test_an_idle_loop_is_in_time(autojump_clock: MockClock) -> None:
    delay = LoopDelay(period=0.5)
    with trio.move_on_after(5.25):
        await delay.run()
    assert delay.histogram.count == 10
    assert delay.histogram.max < 0.001


async def test_a_task_that_holds_the_loop_up_is_seen() -> None:
    delay = LoopDelay(period=0.01)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(delay.run)
        await trio.sleep(0.005)
        time.sleep(0.1)  # noqa: ASYNC251 - that is what is to be seen
        await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    assert 0.05 < delay.histogram.max < 5
    assert delay.histogram.count >= 1
