"""`Wake`: no wake-up is lost, whichever came first."""

import trio
import trio.testing

from penstock_server.wake import Wake


async def test_a_set_before_the_wait_ends_it_at_once() -> None:
    wake = Wake()
    wake.set()
    with trio.testing.assert_checkpoints():
        await wake.wait()


async def test_a_set_while_waiting_ends_the_wait(autojump_clock: trio.testing.MockClock) -> None:
    wake = Wake()

    async def set_later() -> None:
        await trio.sleep(3)
        wake.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(set_later)
        await wake.wait()
    assert trio.current_time() == 3


async def test_setting_it_twice_ends_one_wait_only(autojump_clock: trio.testing.MockClock) -> None:
    wake = Wake()
    wake.set()
    wake.set()
    await wake.wait()
    with trio.move_on_after(1) as scope:
        await wake.wait()
    assert scope.cancelled_caught


async def test_two_sets_while_waiting_end_one_wait_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wake = Wake()

    async def set_twice() -> None:
        wake.set()
        wake.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(set_twice)
        await wake.wait()
    with trio.move_on_after(1) as scope:
        await wake.wait()
    assert scope.cancelled_caught


async def test_a_cancelled_wait_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    wake = Wake()
    with trio.move_on_after(1):
        await wake.wait()
    wake.set()
    await wake.wait()


async def test_a_set_that_passes_a_cancelled_wait_stays_set() -> None:
    wake = Wake()
    wake.set()
    with trio.CancelScope() as scope:
        scope.cancel()
        await wake.wait()
    assert scope.cancelled_caught
    with trio.fail_after(1):
        await wake.wait()


async def test_a_set_and_a_cancellation_at_once_lose_nothing() -> None:
    wake = Wake()
    waited = False
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                nonlocal waited
                await wake.wait()
                waited = True

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            wake.set()
            scope.cancel()
    assert waited
