from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps


async def test_each_item_is_sent_and_the_channel_closed() -> None:
    send, receive = trio.open_memory_channel[int](0)
    received: list[int] = []

    async def read() -> None:
        received.extend([item async for item in receive])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        assert await ps.from_iterable(range(2000)).to(ps.to_channel(send)).run() == 2000
    assert received == list(range(2000))


async def test_a_receiver_that_closes_ends_the_pipeline(autojump_clock: MockClock) -> None:
    send, receive = trio.open_memory_channel[int](0)
    async with ps.every(0.001).to(ps.to_channel(send)).open() as run:
        assert await receive.receive() == 0
        receive.close()
        assert await run.result() == 1
    assert run.report().outcome == "done"


async def test_the_channel_is_closed_when_cancelled() -> None:
    send, receive = trio.open_memory_channel[int](0)
    with trio.CancelScope() as scope:
        async with ps.from_iterable(range(10)).to(ps.to_channel(send)).open():
            await wait_all_tasks_blocked()
            scope.cancel()
    with pytest.raises(trio.EndOfChannel):
        receive.receive_nowait()


async def test_from_channel_to_channel() -> None:
    first_send, first_receive = trio.open_memory_channel[int](10)
    second_send, second_receive = trio.open_memory_channel[str](10)
    for n in range(5):
        first_send.send_nowait(n)
    first_send.close()
    assert await ps.from_channel(first_receive).map(str).to(ps.to_channel(second_send)).run() == 5
    assert [item async for item in second_receive] == ["0", "1", "2", "3", "4"]
