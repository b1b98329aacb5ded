from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import assert_no_checkpoints, wait_all_tasks_blocked

from penstock._channel import Channel, ChannelReceiver
from penstock._errors import BufferOverflow
from penstock._spec import Inlet, Overflow


def channel(capacity: int = 4, overflow: Overflow = "block", senders: int = 1) -> Channel:
    return Channel(Inlet(capacity, overflow), senders)


async def test_receive_takes_everything_that_is_there() -> None:
    c = channel()
    await c.send([1])
    await c.send([2, 3])
    assert await c.receive() == [1, 2, 3]


async def test_a_send_that_does_not_fit_waits_for_the_receiver() -> None:
    c = channel(4)
    await c.send([1, 2, 3])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.send, [4, 5])
        await wait_all_tasks_blocked()
        assert c.waiting == (1, 0)
        assert await c.receive() == [1, 2, 3]
        assert await c.receive() == [4, 5]


async def test_a_list_longer_than_the_capacity_is_split() -> None:
    c = channel(4)
    received = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.send, list(range(10)))
        for _ in range(3):
            await wait_all_tasks_blocked()
            received.append(await c.receive())
    assert received == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert c.peak == 4


async def test_a_cancelled_send_has_sent_a_prefix_and_counts_the_rest() -> None:
    c = channel(4)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.send, list(range(10)))
            await wait_all_tasks_blocked()
            scope.cancel()
    assert await c.receive() == [0, 1, 2, 3]
    assert (c.passed, c.turned_away) == (4, 6)


async def test_a_cancelled_receive_takes_nothing() -> None:
    c = channel()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.receive)
            await wait_all_tasks_blocked()
            scope.cancel()
    await c.send([1])
    assert await c.receive() == [1]


async def test_a_cancelled_sender_leaves_its_place_in_the_line_to_the_next() -> None:
    c = channel(2, senders=2)
    await c.send([0, 0])
    impatient = trio.CancelScope()

    async def give_up() -> None:
        with impatient:
            await c.send([1, 1])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up)
        await wait_all_tasks_blocked()
        nursery.start_soon(c.send, [2])
        await wait_all_tasks_blocked()
        assert c.waiting == (2, 0)
        impatient.cancel()
        await wait_all_tasks_blocked()
        assert await c.receive() == [0, 0]
        assert await c.receive() == [2]


async def test_a_waiting_sender_is_served_before_a_busy_one_that_comes_later() -> None:
    c = channel(10, senders=2)

    async def always_busy() -> None:
        while True:
            await c.send(["busy"] * 6)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(always_busy)
        await wait_all_tasks_blocked()
        nursery.start_soon(c.send, ["patient"] * 6)
        await wait_all_tasks_blocked()
        received: list[str] = []
        for _ in range(4):
            received += await c.receive()
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert "patient" in received


async def test_a_sender_that_would_fit_does_not_overtake_one_that_waits() -> None:
    c = channel(10, senders=2)
    await c.send([0] * 6)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.send, [1] * 6)
        await wait_all_tasks_blocked()
        nursery.start_soon(c.send, [2])
        await wait_all_tasks_blocked()
        assert await c.receive() == [0] * 6
        assert await c.receive() == [1] * 6 + [2]


async def test_a_sender_that_gives_up_makes_way_at_once_for_those_behind_it() -> None:
    c = channel(4, senders=2)
    await c.send([0, 0])
    async with trio.open_nursery() as nursery, trio.open_nursery() as impatient:
        impatient.start_soon(c.send, [1, 1, 1])
        await wait_all_tasks_blocked()
        nursery.start_soon(c.send, [2])
        await wait_all_tasks_blocked()
        assert c.waiting == (2, 0)
        impatient.cancel_scope.cancel()
    assert c.waiting == (0, 0)
    assert await c.receive() == [0, 0, 2]


async def test_the_stream_ends_when_the_last_sender_closed_and_all_is_drained() -> None:
    c = channel(senders=2)
    await c.send([1])
    c.close_sender()
    assert await c.receive() == [1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_end, c)
        await wait_all_tasks_blocked()
        c.close_sender()


async def expect_end(c: Channel) -> None:
    with pytest.raises(trio.EndOfChannel):
        await c.receive()


async def test_a_closed_receiver_breaks_waiting_and_later_senders_and_counts() -> None:
    c = channel(2, senders=2)
    await c.send([1, 2])

    async def send_and_break(item: int) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await c.send([item])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_and_break, 3)
        nursery.start_soon(send_and_break, 4)
        await wait_all_tasks_blocked()
        c.close_receiver()
        await send_and_break(5)
    assert (c.abandoned, c.turned_away) == (2, 3)


async def test_receiving_from_a_closed_receiver_is_an_error_and_never_hangs() -> None:
    c = channel()
    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await c.receive()

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        c.close_receiver()
        await receive()


async def test_a_sender_that_never_waits_lets_others_run_after_each_capacity_of_items() -> None:
    c = channel(4, "drop_oldest")
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        for _ in range(40):
            await c.send([0])
        nursery.cancel_scope.cancel()
    assert turns >= 8


async def test_send_tells_whether_others_had_their_turn() -> None:
    c = channel(4)
    assert not await c.send([1, 2, 3, 4])
    told: list[bool] = []

    async def send(item: int) -> None:
        told.append(await c.send([item]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, 5)
        await wait_all_tasks_blocked()
        await c.receive()
    assert told == [True]


async def test_filling_a_buffer_that_makes_senders_wait_costs_no_turn() -> None:
    c = channel(4)
    for items in ([1, 2], [3, 4]):
        with assert_no_checkpoints():
            await c.send(items)
    assert await c.receive() == [1, 2, 3, 4]


async def test_a_receiver_that_gives_up_waiting_takes_nothing() -> None:
    c = channel()
    with trio.CancelScope() as scope:
        scope.cancel("it gives up at once")
        await c.receive()
    assert c.waiting == (0, 0)
    await c.send([1])
    assert await c.receive() == [1]


async def test_fail_raises_and_keeps_what_was_there() -> None:
    c = channel(2, "fail")
    await c.send([1])
    with pytest.raises(BufferOverflow, match="2 items is full"):
        await c.send([2, 3])
    assert await c.receive() == [1]


async def test_the_time_of_a_wait_counts_while_it_lasts() -> None:
    c = channel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.receive)
        await wait_all_tasks_blocked()
        first = c.receive_waits.seconds
        second = c.receive_waits.seconds
        assert second > first > 0
        await c.send([1])
    settled = c.receive_waits.seconds
    assert c.receive_waits.seconds == pytest.approx(settled, abs=1e-6)
    assert c.send_waits.seconds == 0


class TestUntilIdle:
    async def test_it_waits_for_a_receiver_that_waits(self) -> None:
        c = Channel(Inlet())
        idle: list[bool] = []

        async def wait() -> None:
            await c.until_idle()
            idle.append(c.is_idle)

        async with trio.open_nursery() as nursery:
            await c.send([1])
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert await c.receive() == [1]
            await wait_all_tasks_blocked()
            assert idle == []
            nursery.start_soon(c.receive)
            await wait_all_tasks_blocked()
            assert idle == [True]
            await c.until_idle()
            await c.send([2])

    async def test_a_receiver_that_closes_ends_the_wait(self) -> None:
        c = Channel(Inlet())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.until_idle)
            await wait_all_tasks_blocked()
            c.close_receiver()
        assert not c.is_idle

    @pytest.mark.parametrize("c", [channel(), channel(senders=2), Channel(Inlet(), 2)])
    async def test_a_buffer_that_was_asked_for_and_a_shared_one_need_no_wait(
        self, c: Channel
    ) -> None:
        with trio.fail_after(60):
            await c.until_idle()
        assert not c.is_idle


class TestReceiver:
    async def test_iterates_items_one_by_one_until_the_end(self) -> None:
        c = channel()
        await c.send([1, 2])
        c.close_sender()
        assert [item async for item in ChannelReceiver(c)] == [1, 2]

    async def test_keeps_what_was_not_looked_at_for_the_next_read(self) -> None:
        c = channel()
        receiver = ChannelReceiver(c)
        await c.send([1, 2, 3])
        async for item in receiver:
            assert item == 1
            break
        assert receiver.held == 2
        assert await receiver.chunk() == [2, 3]

    async def test_chunks_are_never_empty(self) -> None:
        c = channel()
        receiver = ChannelReceiver(c)
        chunks: list[list[Any]] = []
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                chunks.extend([chunk async for chunk in receiver.chunks()])

            nursery.start_soon(read)
            for items in ([], [1], [], [2, 3]):
                await wait_all_tasks_blocked()
                await c.send(items)
            c.close_sender()
        assert chunks == [[1], [2, 3]]

    async def test_close_counts_what_it_held_as_abandoned(self) -> None:
        c = channel()
        receiver = ChannelReceiver(c)
        await c.send([1, 2, 3])
        await anext(receiver)
        await c.send([4])
        receiver.close()
        assert (c.abandoned, receiver.held) == (3, 0)
