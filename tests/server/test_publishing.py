"""Publications of clients: all of them are stored, or none is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock_server import Limits, Server, Timing, Topic
from penstock_server.grants import UNRESTRICTED, Grant
from penstock_server.hub import Hub
from penstock_server.log import EncodedEvent, Start, StoredEvent
from penstock_server.publishing import (
    BadIdempotencyKey,
    GoingAway,
    KeyReused,
    NoRoom,
    Publication,
    Publisher,
    RateLimited,
    Refused,
    TooLarge,
    publish,
    publisher_at,
    publisher_on_connection,
)
from penstock_server.transports.framing import NDJSON


@dataclass
class Person:
    name: str
    age: int = 0


@dataclass
class Bench:
    """A topic with the server around it, and one who publishes there."""

    hub: Hub
    topic: Topic[Any]
    publisher: Publisher

    async def publish(
        self,
        *values: object,
        event: str | None = None,
        key: str | None = None,
        by: Publisher | None = None,
        size: int = 0,
    ) -> Publication:
        return await publish(
            self.hub, self.topic, values, event, key, by or self.publisher, size=size
        )

    def cursor(self, offset: int) -> str:
        return f"{self.topic.log.epoch}-{offset}"

    @property
    def stored(self) -> list[bytes]:
        events = self.topic.log.read(self.topic.log.bounds().first - 1, 1000)
        assert isinstance(events, list)
        return [event.json for event in events]


def bench(accepts: Any = Person, limits: Limits | None = None, **options: Any) -> Bench:
    server = Server(limits=limits, timing=Timing(idempotency_window=10))
    topic: Topic[Any] = server.topic("people", accepts=accepts, **options)
    return Bench(server.hub, topic, publisher_at(server.hub, "192.0.2.7", UNRESTRICTED))


async def test_values_are_stored_as_they_are() -> None:
    people = bench()
    people.topic.log.append([EncodedEvent(b"0", b"\0")])
    publication = await people.publish(
        {"name": "Ada"}, {"name": "Bob", "age": 7, "unknown": [1]}, event="joined"
    )
    assert publication == Publication(people.cursor(2), people.cursor(3), 2, replayed=False)
    assert people.topic.log.read(1, 10) == [
        StoredEvent(2, b'{"name":"Ada"}', b"\x81\xa4name\xa3Ada", "joined"),
        StoredEvent(
            3,
            b'{"name":"Bob","age":7,"unknown":[1]}',
            b"\x83\xa4name\xa3Bob\xa3age\x07\xa7unknown\x91\x01",
            "joined",
        ),
    ]
    assert people.hub.published == 2


@pytest.mark.parametrize(
    ("values", "index", "path"),
    [
        ([{"name": "Ada"}, {"name": 7}, {"name": "Eve"}], 1, "$.name"),
        ([{"name": "Ada"}, {"name": "Bob"}, {}], 2, "$.name"),
        ([[1]], 0, "$"),
        ([{"name": "Ada"}, {"name": "Bob", "more": float("inf")}], 1, "$"),
    ],
)
@pytest.mark.parametrize("size", [0, 1_000_000])
async def test_one_bad_value_and_nothing_is_stored(
    values: list[object], index: int, path: str, size: int
) -> None:
    people = bench()
    with pytest.raises(Refused) as refused:
        await people.publish(*values, size=size)
    assert (refused.value.index, refused.value.path) == (index, path)
    assert people.stored == []
    assert people.hub.published == 0
    assert people.hub.counters.refused["invalid"] == 1


@pytest.mark.parametrize("event", ["", "a\nb", "a\0"])
async def test_a_bad_name_and_nothing_is_stored(event: str) -> None:
    people = bench()
    with pytest.raises(Refused, match="name"):
        await people.publish({"name": "Ada"}, event=event)
    assert people.stored == []


async def test_a_text_topic_stores_text_only() -> None:
    lines = bench(accepts=str, encoding="text")
    await lines.publish("a\nb")
    with pytest.raises(Refused):
        await lines.publish("c", 1)
    assert lines.stored == [b'"a\\nb"']


# Idempotency


async def test_a_repetition_is_answered_as_the_first_and_stores_nothing() -> None:
    people = bench()
    first = await people.publish({"name": "A"}, {"name": "B"}, event="in", key="k")
    await people.publish({"name": "C"})
    again = await people.publish({"name": "A"}, {"name": "B"}, event="in", key="k")
    assert again == Publication(first.first, first.last, 2, replayed=True)
    assert len(people.stored) == 3
    assert people.hub.published == 3


@pytest.mark.parametrize(
    ("values", "event"),
    [(["A", "C"], "in"), (["A"], "in"), (["A", "B", "C"], "in"), (["A", "B"], None)],
)
async def test_another_publication_under_a_key_is_refused(
    values: list[str], event: str | None
) -> None:
    any_ = bench(accepts=object)
    await any_.publish("A", "B", event="in", key="k")
    with pytest.raises(KeyReused):
        await any_.publish(*values, event=event, key="k")
    assert len(any_.stored) == 2
    assert any_.hub.counters.refused["invalid"] == 1


async def test_a_key_of_another_topic_or_subject_is_another_key() -> None:
    server = Server()
    topics: list[Topic[Any]] = [server.topic(name, accepts=object) for name in "ab"]
    subjects = [publisher_at(server.hub, "", Grant(subject=name)) for name in ("ada", "bob")]
    for topic in topics:
        for subject in subjects:
            publication = await publish(server.hub, topic, [1], None, "k", subject)
            assert not publication.replayed
    again = await publish(server.hub, topics[0], [1], None, "k", subjects[1])
    assert again.replayed


async def test_what_was_refused_is_not_remembered() -> None:
    people = bench()
    with pytest.raises(Refused):
        await people.publish({"name": 1}, key="k")
    assert not (await people.publish({"name": "Ada"}, key="k")).replayed


@pytest.mark.parametrize("key", ["", "x" * 129])
async def test_a_bad_key_and_nothing_is_stored(key: str) -> None:
    people = bench()
    with pytest.raises(BadIdempotencyKey):
        await people.publish({"name": "Ada"}, key=key)
    assert people.stored == []


# Rates


async def test_a_burst_then_the_rate(autojump_clock: MockClock) -> None:
    any_ = bench(object, Limits(publish_rate=2, publish_burst=3))
    for number in range(3):
        await any_.publish(number)
    with pytest.raises(RateLimited, match="2 publications a second, 3 of them at once") as limited:
        await any_.publish(3)
    assert limited.value.retry_after == 0.5
    await trio.sleep(0.5)
    await any_.publish(3)
    assert any_.stored == [b"0", b"1", b"2", b"3"]
    assert any_.hub.counters.refused["rate_limited"] == 1


async def test_a_batch_takes_a_token_for_each_value(autojump_clock: MockClock) -> None:
    any_ = bench(object, Limits(publish_rate=1, publish_burst=10))
    await any_.publish(*range(6))
    with pytest.raises(RateLimited) as limited:
        await any_.publish(*range(6))
    assert limited.value.retry_after == 2
    await any_.publish(*range(4))
    assert len(any_.stored) == 10


async def test_a_batch_over_the_burst_never_goes_through_and_is_told_so() -> None:
    any_ = bench(object, Limits(publish_burst=10))
    with pytest.raises(TooLarge, match=r"at most 10 values \(publish_burst\), not 11"):
        await any_.publish(*range(11))
    await any_.publish(*range(10))
    assert any_.hub.counters.refused["too_large"] == 1


async def test_each_address_subject_and_connection_has_a_rate_of_its_own() -> None:
    any_ = bench(object, Limits(publish_rate=0.001, publish_burst=1))
    hub, ada = any_.hub, Grant(subject="ada")
    for publisher in (
        publisher_at(hub, "192.0.2.1", UNRESTRICTED),
        publisher_at(hub, "192.0.2.2", UNRESTRICTED),
        publisher_at(hub, "192.0.2.1", ada),
        publisher_on_connection(hub, ada),
        publisher_on_connection(hub, ada),
    ):
        await any_.publish(1, by=publisher)
    for publisher in (
        publisher_at(hub, "192.0.2.1", UNRESTRICTED),
        publisher_at(hub, "198.51.100.9", ada),
    ):
        with pytest.raises(RateLimited):
            await any_.publish(1, by=publisher)
    assert len(any_.stored) == 5


# Room, and the end


def full(retain: int = 2, wait: float = 5) -> tuple[Bench, Callable[[], None]]:
    """A topic that waits for a reader who reads nothing, and what lets that one go."""
    any_ = bench(object, Limits(publish_wait=wait), slow="block", retain=retain)
    delivery = any_.topic.delivery
    reader = delivery.join(
        NDJSON, Start(0, None), slow="block", wake=lambda: None, give_up=lambda: None
    )
    any_.topic.log.append([EncodedEvent(b"0", b"\0")] * retain)
    return any_, lambda: delivery.leave(reader)


async def test_it_waits_for_room(autojump_clock: MockClock) -> None:
    any_, let_go = full()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(any_.publish, 1)
        await trio.sleep(4.9)
        assert any_.stored == [b"0", b"0"]
        let_go()
    assert any_.stored == [b"0", b"1"]
    assert any_.hub.published == 1


async def test_no_room_in_time_and_nothing_is_stored(autojump_clock: MockClock) -> None:
    any_, let_go = full()
    with pytest.raises(NoRoom) as refused:
        await any_.publish(1, 2, key="k")
    assert trio.current_time() == pytest.approx(5)
    assert refused.value.retry_after
    let_go()
    assert any_.stored == [b"0", b"0"]
    assert any_.hub.counters.refused["unavailable"] == 1
    assert not (await any_.publish(1, 2, key="k")).replayed


async def test_room_for_a_part_of_it_is_no_room(autojump_clock: MockClock) -> None:
    any_, let_go = full(retain=5)
    let_go()
    any_.topic.delivery.join(
        NDJSON, Start(3, None), slow="block", wake=lambda: None, give_up=lambda: None
    )
    with pytest.raises(NoRoom):
        await any_.publish(*range(4))
    await any_.publish(*range(3))
    assert any_.topic.log.bounds().last == 8


async def test_more_than_is_ever_kept_is_refused_at_once(autojump_clock: MockClock) -> None:
    any_, _ = full(retain=5)
    with pytest.raises(TooLarge, match="retain"):
        await any_.publish(*range(6))
    assert trio.current_time() == 0


async def test_without_patience_room_is_taken_where_there_is_some() -> None:
    any_, let_go = full(wait=0)
    with pytest.raises(NoRoom):
        await any_.publish(1)
    let_go()
    await any_.publish(1)
    assert any_.stored == [b"0", b"1"]


async def test_who_gives_up_waiting_has_stored_nothing() -> None:
    any_, let_go = full()
    with trio.CancelScope() as scope:
        scope.cancel()
        await any_.publish(1, key="k")
    let_go()
    assert any_.stored == [b"0", b"0"]
    assert not (await any_.publish(1, key="k")).replayed


async def test_the_drain_ends_the_wait_for_room() -> None:
    any_, _ = full()
    async with trio.open_nursery() as nursery:
        await nursery.start(any_.hub.run)
        refused = trio.Event()

        async def wait_in_vain() -> None:
            with pytest.raises(GoingAway):
                await any_.publish(1)
            refused.set()

        nursery.start_soon(wait_in_vain)
        await wait_all_tasks_blocked()
        any_.hub.begin_drain()
        await refused.wait()
        nursery.cancel_scope.cancel()
    assert any_.stored == [b"0", b"0"]


async def test_a_draining_server_stores_nothing_but_knows_what_it_stored() -> None:
    any_ = bench(object)
    await any_.publish(1, key="k")
    async with trio.open_nursery() as nursery:
        await nursery.start(any_.hub.run)
        any_.hub.begin_drain()
        await any_.hub.producers_ended()
        with pytest.raises(GoingAway) as away:
            await any_.publish(2)
        assert away.value.retry_after
        assert (await any_.publish(1, key="k")).replayed
        nursery.cancel_scope.cancel()
    assert any_.stored == [b"1"]
    assert any_.hub.counters.refused["unavailable"] == 1
