"""`publisher` and the sink `publish` over requests that a test answers, on a mock clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps
from penstock import Backoff, PipelineError, StageError
from penstock.net import (
    Acknowledgement,
    Event,
    Gap,
    ItemRefused,
    Loss,
    NotPublishable,
    Refused,
    publish,
    publisher,
)
from penstock.net.publishing.policy import Answer
from penstock.net.publishing.queue import Batch
from penstock.net.publishing.requests import NoAnswer
from penstock.net.publishing.settings import Way
from penstock.wire import MSGPACK

URL = "http://127.0.0.1:1/topics/news"
STEADY = Backoff(initial=1, maximum=1, jitter=False)
Say = Callable[[Batch], Awaitable[Answer]]


class Topic:
    """A topic that stores what it is sent, once per key, unless `say` answers in its place."""

    def __init__(self) -> None:
        self.log: list[object] = []
        self.names: list[str | None] = []
        self.batches: list[Batch] = []
        self.say: Say | None = None
        self._keys: set[str] = set()

    async def send(self, batch: Batch) -> Answer:
        await trio.lowlevel.checkpoint()
        self.batches.append(batch)
        if self.say is not None:
            return await self.say(batch)
        return self.store(batch)

    def store(self, batch: Batch) -> Answer:
        replayed = batch.key in self._keys
        if not replayed:
            self._keys.add(batch.key)
            values = MSGPACK.decode_values(batch.body)
            self.log += values
            self.names += [batch.event] * len(values)
        count = len(batch.publications)
        body = b'{"count":%d,"first":"e-%d","last":"e-%d"}' % (count, 1, len(self.log))
        return Answer(201, body, replayed=replayed)


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    made = Topic()

    @asynccontextmanager
    async def open_requests(way: Way, patience: float) -> AsyncGenerator[Any, None]:
        yield made

    monkeypatch.setattr("penstock.net.publishing.publisher.open_requests", open_requests)
    return made


async def unreachable(batch: Batch) -> Answer:
    raise NoAnswer("no route", arrived=False)


async def forever(batch: Batch) -> Answer:
    await trio.sleep_forever()
    raise AssertionError


# The publisher


async def test_what_is_handed_in_is_stored_in_order(topic: Topic) -> None:
    acknowledged: list[Acknowledgement] = []
    async with publisher(URL, on_acknowledged=acknowledged.append) as p:
        for n in range(5):
            await p.publish(n)
        p.publish_nowait(5, "named")
        await p.flush()
        assert topic.log == list(range(6))
        await p.publish(6)
    assert topic.log == list(range(7))
    assert topic.names == [None] * 5 + ["named", None]
    assert sum(each.count for each in acknowledged) == 7
    report = p.statistics()
    assert (report.taken, report.acknowledged, report.waiting, report.last) == (7, 7, 0, "e-7")
    with pytest.raises(trio.ClosedResourceError):
        await p.publish(7)
    with pytest.raises(trio.ClosedResourceError):
        p.publish_nowait(7)


async def test_items_that_come_while_a_request_is_under_way_go_together(topic: Topic) -> None:
    async with publisher(URL, batch=10) as p:
        for n in range(25):
            p.publish_nowait(n)
    assert [len(each.publications) for each in topic.batches] == [10, 10, 5]


async def test_a_flood_while_offline_loses_the_oldest(
    topic: Topic, autojump_clock: MockClock
) -> None:
    topic.say = unreachable
    losses: list[Loss] = []
    async with publisher(URL, queue=5, reconnect=STEADY, on_loss=losses.append) as p:
        await p.publish(0)
        await trio.sleep(0.5)
        for n in range(1, 100):
            await p.publish(n)  # doesn't wait
        assert trio.current_time() < 10
        assert p.statistics().dropped == 94
        assert not p.statistics().reachable
        topic.say = None
    assert topic.log == [0, 95, 96, 97, 98, 99]  # the first one was under way
    assert [each.problem for each in losses] == ["no route"] * len(losses)
    report = p.statistics()
    assert report.taken == 100 == report.acknowledged + report.dropped


async def test_while_the_server_is_there_publishing_waits(
    topic: Topic, autojump_clock: MockClock
) -> None:
    async def slow(batch: Batch) -> Answer:
        await trio.sleep(1)
        return topic.store(batch)

    topic.say = slow
    async with publisher(URL, queue=2, batch=1) as p:
        for n in range(10):
            await p.publish(n)
        assert trio.current_time() > 6
    assert topic.log == list(range(10))
    assert p.statistics().dropped == 0


async def test_a_server_that_asks_to_wait_is_waited_for(
    topic: Topic, autojump_clock: MockClock
) -> None:
    ready = trio.current_time() + 100

    async def busy(batch: Batch) -> Answer:
        return topic.store(batch) if trio.current_time() > ready else Answer(429, b"", 60.0)

    topic.say = busy
    async with publisher(URL, queue=1, batch=1, reconnect=STEADY, on_loss=lambda _: None) as p:
        for n in range(4):
            await p.publish(n)
    assert topic.log == list(range(4))
    assert p.statistics().dropped == 0


async def _answer(answer: Answer) -> Answer:
    return answer


async def test_a_server_that_says_nothing_counts_as_away(
    topic: Topic, autojump_clock: MockClock
) -> None:
    topic.say = forever
    with trio.move_on_after(100):
        async with publisher(URL, queue=2, batch=1) as p:
            for n in range(5):
                await p.publish(n)
            assert 5 <= trio.current_time() <= 20
            assert p.statistics().dropped == 2
            await trio.sleep_forever()


async def test_with_block_nothing_is_dropped(topic: Topic, autojump_clock: MockClock) -> None:
    topic.say = unreachable
    async with publisher(
        URL, queue=2, overflow="block", reconnect=STEADY, on_loss=lambda _: None
    ) as p:
        with trio.move_on_after(60) as scope:
            for n in range(10):
                await p.publish(n)
        assert scope.cancelled_caught
        taken = p.statistics().taken
        with pytest.raises(trio.WouldBlock):
            p.publish_nowait("too much")
        assert p.statistics().taken == taken
        topic.say = None
    assert topic.log == list(range(taken))


async def test_those_who_wait_are_served_in_their_order(
    topic: Topic, autojump_clock: MockClock
) -> None:
    topic.say = unreachable
    opened = publisher(
        URL, queue=1, batch=1, overflow="block", reconnect=STEADY, on_loss=lambda _: None
    )
    async with opened as p, trio.open_nursery() as nursery:
        for n in range(10):
            nursery.start_soon(p.publish, n)
            await wait_all_tasks_blocked()
        topic.say = None
    assert topic.log == list(range(10))


async def test_a_lost_answer_stores_nothing_twice(topic: Topic, autojump_clock: MockClock) -> None:
    attempts = 0

    async def lossy(batch: Batch) -> Answer:
        nonlocal attempts
        attempts += 1
        answer = topic.store(batch)
        if attempts % 3:
            raise NoAnswer("cut", arrived=True)
        return answer

    topic.say = lossy
    async with publisher(URL, batch=2, reconnect=STEADY, on_loss=lambda _: None) as p:
        for n in range(20):
            await p.publish(n)
    assert topic.log == list(range(20))
    report = p.statistics()
    assert (report.acknowledged, report.replayed, report.uncertain) == (20, 20, 0)


async def test_a_refusal_is_raised_from_everything(topic: Topic) -> None:
    topic.say = lambda batch: _answer(Answer(403, b'{"detail":"No right."}'))
    with pytest.raises(Refused, match=r"403 Forbidden: No right\."):
        async with publisher(URL) as p:
            await p.publish(1)
            await wait_all_tasks_blocked()
            for attempt in (p.flush, lambda: p.publish(2)):
                with pytest.raises(Refused):
                    await attempt()
            with pytest.raises(Refused):
                p.publish_nowait(2)
    with pytest.raises(Refused):  # the block need not ask
        async with publisher(URL) as p:
            p.publish_nowait(1)


async def test_a_refusal_ends_those_who_wait_for_room(topic: Topic) -> None:
    async def refuse(batch: Batch) -> Answer:
        await wait_all_tasks_blocked()
        return Answer(404, b"")

    topic.say = refuse
    with pytest.raises(Refused):
        async with publisher(URL, queue=1, batch=1, overflow="block") as p:
            for n in range(10):
                await p.publish(n)


async def test_an_error_in_the_block_comes_as_itself_and_abandons(topic: Topic) -> None:
    topic.say = forever
    with pytest.raises(KeyError):
        async with publisher(URL) as p:
            await p.publish(1)
            raise KeyError
    assert p.statistics().waiting == 1


async def test_cancelled_publishing_has_handed_nothing_in(topic: Topic) -> None:
    async with publisher(URL) as p:
        with trio.CancelScope() as scope:
            scope.cancel("before")
            await p.publish(1)
        assert scope.cancelled_caught
        await p.publish(2)
    assert topic.log == [2]


async def test_what_cannot_be_published(topic: Topic) -> None:
    async with publisher(URL) as p:
        with pytest.raises(NotPublishable):
            await p.publish(object())
        with pytest.raises(NotPublishable, match="name"):
            await p.publish(1, "a\nb")
    assert topic.log == []


# The sink


@dataclass
class Reading:
    name: str
    load: float


async def test_a_pipeline_publishes_its_items(topic: Topic) -> None:
    items = [Reading(f"cpu{n}", n / 2) for n in range(3)]
    report = await ps.from_iterable(items).to(publish(URL)).run()
    assert topic.log == [{"name": each.name, "load": each.load} for each in items]
    assert (report.taken, report.acknowledged, report.waiting) == (3, 3, 0)


async def test_many_items_go_in_few_requests(topic: Topic) -> None:
    report = await ps.from_iterable(range(10_000)).to(publish(URL)).run()
    assert topic.log == list(range(10_000))
    assert report.dropped == 0
    assert report.requests < 100


async def test_events_keep_their_data_and_names(topic: Topic) -> None:
    events = [Event("a", "e-1", 1), Event("a", "e-2", [2], "x"), 3]
    await ps.from_iterable(events).to(publish(URL)).run()
    assert (topic.log, topic.names) == ([1, [2], 3], [None, "x", None])
    await ps.from_iterable(events).to(publish(URL, event="all")).run()
    assert topic.names[3:] == ["all"] * 3
    await ps.from_iterable(events).to(publish(URL, event=lambda item: type(item).__name__)).run()
    assert topic.names[6:] == ["Event", "Event", "int"]


async def test_a_gap_says_what_to_do_with_it(topic: Topic) -> None:
    items = [Event("a", "e-1", 1), Gap("a", "e-1", "e-3", 2, "slow"), Event("a", "e-4", 4)]
    with pytest.raises(StageError, match="a Gap is not an event") as caught:
        await ps.from_iterable(items).to(publish(URL)).run()
    assert isinstance(caught.value.__cause__, NotPublishable)
    assert topic.log == [1]  # what came before is stored
    report = await ps.from_iterable(items).to(publish(URL, errors="skip")).run()
    assert topic.log[1:] == [1, 4]
    assert (report.taken, report.skipped) == (3, 1)


async def test_keys_of_ones_own(topic: Topic) -> None:
    sink = publish(URL, key=lambda item: f"row {item}")
    await ps.from_iterable([1, 2, 2, 3]).to(sink).run()
    await ps.from_iterable([3, 4]).to(sink).run()
    assert topic.log == [1, 2, 3, 4]
    assert {each.key for each in topic.batches} == {f"row {n}" for n in (1, 2, 3, 4)}


async def test_a_function_that_fails_names_the_item(topic: Topic) -> None:
    with pytest.raises(StageError, match="on item 2") as caught:
        await ps.from_iterable([1, 2]).to(publish(URL, key=lambda n: ["a", "b"][n])).run()
    assert isinstance(caught.value.__cause__, IndexError)


async def test_an_item_that_the_server_refuses_is_named(topic: Topic) -> None:
    body = b'{"detail":"no good","errors":[{"index":%d,"path":"$.n"}]}'

    async def picky(batch: Batch) -> Answer:
        sent = MSGPACK.decode_values(batch.body)
        return Answer(422, body % sent.index(7)) if 7 in sent else topic.store(batch)

    topic.say = picky
    with pytest.raises(StageError) as caught:
        await ps.from_iterable(range(10)).to(publish(URL)).run()
    refused = caught.value.__cause__
    assert isinstance(refused, ItemRefused)
    assert (refused.index, refused.item, refused.path) == (7, 7, "$.n")
    assert topic.log == list(range(7))
    report = await ps.from_iterable(range(10)).to(publish(URL, errors="skip")).run()
    assert topic.log[7:] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert report.skipped == 1


async def test_cancelled_a_pipeline_abandons_what_waits(topic: Topic) -> None:
    topic.say = forever
    with trio.move_on_after(0.05):
        await ps.from_iterable([1]).to(publish(URL)).run()
    assert topic.log == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "ws://127.0.0.1/ws"}, "url must be like http://127.0.0.1:8000/topics/NAME"),
        ({"url": "http://127.0.0.1"}, "url must be like"),
        ({"url": "http:///topics/a"}, "url must be like"),
        ({"url": "http://h:x/topics/a"}, "url is not a URL"),
        ({"queue": 0}, "queue must be"),
        ({"queue_bytes": 0}, "queue_bytes must be"),
        ({"batch": True}, "batch must be"),
        ({"batch_bytes": 0}, "batch_bytes must be"),
        ({"timeout": 0}, "timeout must be"),
        ({"idempotency_window": -1}, "idempotency_window must be"),
        ({"overflow": "fail"}, "overflow must be one of"),
        ({"errors": "retry"}, "errors must be one of"),
        ({"reconnect": 3}, "must be a Backoff"),
        ({"on_loss": 3}, "on_loss must be a function"),
        ({"on_acknowledged": 3}, "on_acknowledged must be a function"),
        ({"headers": {"A": "b\n"}}, "one line"),
        ({"event": 5}, "event must be a function"),
        ({"key": "k"}, "key must be a function"),
    ],
)
async def test_options(change: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"url": URL, **change}
    url = given.pop("url")
    with pytest.raises(PipelineError, match=r"^publish: ") as caught:
        publish(url, **given)
    assert said in str(caught.value)
    if not {"event", "key"} & change.keys():
        with pytest.raises(PipelineError, match=r"^publisher: "):
            async with publisher(url, **given):
                pass
