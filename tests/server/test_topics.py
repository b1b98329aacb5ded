"""Topics: declared, fed, published to, and read by pipelines."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing

import penstock as ps
from penstock.wire import BadCursor, Cursor, Unencodable
from penstock_server import Event, Server, Topic, testing


@dataclass
class Message:
    text: str


def stored(topic: Topic[Any]) -> list[Any]:
    """The data of everything that a topic retains."""
    events = topic.log.read(topic.log.bounds().first - 1, 100_000)
    assert isinstance(events, list)
    return [msgspec.json.decode(event.json) for event in events]


@asynccontextmanager
async def running(server: Server) -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        yield
        nursery.cancel_scope.cancel()


# Declaring


def test_a_decorated_function_becomes_the_topic() -> None:
    server = Server()
    topic = server.topic("numbers")

    @topic
    def numbers() -> ps.Stream[int]:
        return ps.from_iterable([1])

    assert numbers is topic
    assert not topic.publishable
    assert isinstance(topic.build(), ps.Stream)


def test_a_second_pipeline_is_refused() -> None:
    topic = Server().topic("numbers")
    topic(lambda: ps.from_iterable([1]))
    with pytest.raises(ps.PipelineError, match=r"topic 'numbers': has a pipeline already.*\.py:"):
        topic(lambda: ps.from_iterable([2]))


def test_only_a_function_is_decorated() -> None:
    stream = cast("Any", ps.from_iterable([1]))
    with pytest.raises(ps.PipelineError, match="topic 'numbers': decorates a function, not"):
        Server().topic("numbers")(stream)


def forgets_to_return() -> Any:
    ps.from_iterable([1])


def closes_the_stream() -> Any:
    return ps.from_iterable([1]).to(ps.drain())


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (forgets_to_return, "gave None; return a Stream"),
        (closes_the_stream, "leave the sink out"),
        (partial(forgets_to_return), "gave None; return a Stream"),
    ],
)
def test_a_function_that_gives_no_stream_is_named_with_its_line(function: Any, hint: str) -> None:
    topic = Server().topic("numbers")(function)
    with pytest.raises(ps.PipelineError, match=hint) as refused:
        topic.build()
    assert refused.value.stage == "topic 'numbers'"
    assert refused.value.where is not None
    assert refused.value.where.file == __file__
    if not isinstance(function, partial):
        assert refused.value.where.line == function.__code__.co_firstlineno


def test_the_schema_is_that_of_what_it_accepts() -> None:
    server = Server()
    schema = server.topic("chat", accepts=Message).schema
    assert schema is not None
    assert schema["$defs"]["Message"]["required"] == ["text"]
    assert server.topic("closed").schema is None
    assert server.topic("open", accepts=object).schema is not None


# Publishing from code


async def test_publishing_gives_the_cursor_of_the_event() -> None:
    topic = Server().topic("chat", accepts=Message)
    assert await topic.publish(Message("a")) == Cursor(topic.log.epoch, 1)
    assert await topic.publish(Message("b"), event="shout") == topic.cursor
    assert stored(topic) == [{"text": "a"}, {"text": "b"}]
    events = topic.log.read(0, 10)
    assert isinstance(events, list)
    assert [event.name for event in events] == [None, "shout"]


async def test_publishing_what_has_no_json_stores_nothing() -> None:
    topic: Topic[Any] = Server().topic("chat")
    with pytest.raises(Unencodable):
        await topic.publish(object())
    assert topic.cursor.offset == 0


async def test_a_cancelled_publication_is_stored_all_the_same() -> None:
    topic: Topic[Any] = Server().topic("chat")
    with trio.CancelScope() as scope:
        scope.cancel()
        await topic.publish(1)
    assert scope.cancelled_caught
    assert stored(topic) == [1]


# Reading as a stream


async def test_values_are_instances_of_what_it_accepts() -> None:
    topic = Server().topic("chat", accepts=Message)
    await topic.publish(Message("a"))
    async with topic.values(after="earliest").open() as values:
        assert await anext(aiter(values)) == Message("a")


async def test_values_of_a_topic_without_a_type_are_plain() -> None:
    topic: Topic[Any] = Server().topic("any", accepts=object)
    await topic.publish({"n": 1})
    topic.log.finish()
    assert await topic.values("earliest").to(ps.collect()).run() == [{"n": 1}]


async def test_events_keep_their_names() -> None:
    topic = Server().topic("chat", accepts=Message)
    await topic.publish(Message("a"), event="shout")
    await topic.publish(Message("b"))
    topic.log.finish()
    events = await topic.events("earliest").to(ps.collect()).run()
    assert events == [Event(Message("a"), "shout"), Event(Message("b"))]


async def test_latest_is_from_now_on_and_a_cursor_from_there() -> None:
    topic: Topic[Any] = Server().topic("any")
    first = await topic.publish(1)
    await topic.publish(2)

    async with topic.values().open() as values, topic.values(str(first)).open() as later:
        await trio.testing.wait_all_tasks_blocked()
        await topic.publish(3)
        assert await anext(aiter(values)) == 3
        assert [await anext(aiter(later)), await anext(aiter(later))] == [2, 3]


def test_a_graph_names_the_topic_that_is_read() -> None:
    topic: Topic[Any] = Server().topic("any")
    for stream in (topic.values(), topic.events()):
        assert stream.filter(bool).graph().text() == "task 1: topic(any) → filter(bool)\n"


def test_a_bad_cursor_is_refused_at_once() -> None:
    with pytest.raises(BadCursor):
        Server().topic("any").values("newest")


async def test_a_reader_that_was_overtaken_goes_on_with_the_oldest() -> None:
    topic: Topic[Any] = Server().topic("any", retain=2)
    first = await topic.publish(0)
    for n in range(1, 10):
        await topic.publish(n)
    topic.log.finish()
    assert await topic.values(str(first)).to(ps.collect()).run() == [8, 9]


# Topics of topics


async def test_a_pipeline_feeds_its_topic_and_names_events(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()

    @server.topic("ticks")
    def ticks() -> ps.Stream[Any]:
        return ps.every(1, count=3).map(lambda n: Event(n, event="tick") if n else n)

    async with running(server):
        await trio.sleep(5)
        events = ticks.log.read(0, 10)
        assert isinstance(events, list)
        assert [(event.json, event.name) for event in events] == [
            (b"0", None),
            (b"1", "tick"),
            (b"2", "tick"),
        ]


async def test_derived_topics_get_all_from_the_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()

    @server.topic("numbers")
    def numbers() -> ps.Stream[int]:
        return ps.from_iterable(range(5))

    derived = [
        server.topic(f"derived{n}")(lambda: numbers.values().map(lambda x: x * x))
        for n in range(10)
    ]
    async with running(server):
        await trio.sleep(1)
    assert [stored(topic) for topic in derived] == [[0, 1, 4, 9, 16]] * 10


def add_derived(server: Server, raw: Topic[Any], poisons: set[int]) -> Topic[Any]:
    def check(value: Any) -> Any:
        if value in poisons:
            raise ValueError(f"poison {value}")
        return value

    return server.topic("derived", retain=10_000)(lambda: raw.values().map(check))


@pytest.mark.expect_error_log
@pytest.mark.parametrize("poisons", [{0}, {1}, {250}, {499}, {3, 4}, {100, 101, 400}], ids=str)
async def test_a_poison_event_in_a_burst_costs_only_itself(
    autojump_clock: trio.testing.MockClock, poisons: set[int]
) -> None:
    server = Server()
    raw: Topic[Any] = server.topic("raw", accepts=object)
    derived = add_derived(server, raw, poisons)
    async with running(server):
        for n in range(500):
            await raw.publish(n)
        await trio.sleep(120)
        await raw.publish(500)
        await trio.sleep(1)
    assert stored(derived) == [n for n in range(501) if n not in poisons]


@pytest.mark.expect_error_log
async def test_an_item_without_json_costs_only_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    raw: Topic[Any] = server.topic("raw", accepts=object)
    derived = server.topic("derived")(
        lambda: raw.values().map(lambda n: object() if n == 50 else n)
    )
    async with running(server):
        for n in range(100):
            raw.log.append([encoded(n)])
        await trio.sleep(120)
    assert stored(derived) == [n for n in range(100) if n != 50]


@pytest.mark.expect_error_log
async def test_an_event_not_of_the_type_costs_only_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    raw = server.topic("raw", accepts=Message)
    derived = server.topic("derived")(lambda: raw.values().map(lambda message: message.text))
    async with running(server):
        for text in ("a", "b", 7, "c"):
            raw.log.append([encoded({"text": text})])
        await trio.sleep(120)
    assert stored(derived) == ["a", "b", "c"]


@pytest.mark.expect_error_log
async def test_a_restart_goes_on_after_the_last_event_taken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    raw: Topic[Any] = server.topic("raw", accepts=object)
    derived = add_derived(server, raw, {2})
    async with running(server):
        for n in range(6):
            await raw.publish(n)
            await trio.sleep(0.01)  # so 3, 4 and 5 come while it waits to be started again
        await trio.sleep(60)
    assert stored(derived) == [0, 1, 3, 4, 5]
    assert derived.restarts == 1


def encoded(value: object) -> Any:
    from penstock_server.encoding import encode

    return encode(value, "json")


async def test_an_event_is_not_given_a_second_name() -> None:
    topic: Topic[Any] = Server().topic("a")
    with pytest.raises(TypeError, match="has its own name"):
        await topic.publish(Event(1, "one"), event="two")
    assert topic.log.bounds().last == 0


async def test_what_the_application_publishes_is_of_the_topics_type() -> None:
    server = Server()
    topic = server.topic("a", accepts=Message)
    with pytest.raises(ValueError, match=r"Expected `str`, got `int` \(at \$\.text\)"):
        await topic.publish(Message(cast("Any", 7)))
    with pytest.raises(ValueError, match="Expected `object`"):
        await topic.publish(Event(7, "seven"))
    assert topic.log.bounds().last == 0
    text = server.topic("text", accepts=str, encoding="text")
    await text.publish("fine")
    assert stored(text) == ["fine"]


async def test_a_publication_waits_for_room_where_the_topic_blocks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    topic = server.topic("a", accepts=int, slow="block", retain=3)
    feeding = server.topic("fed", slow="block", retain=3)(lambda: ps.from_iterable(range(100)))
    async with testing.serve(server) as client, client.stream("a") as events:
        async with trio.open_nursery() as nursery:

            async def publish_all() -> None:
                for n in range(20):
                    await topic.publish(n)

            nursery.start_soon(publish_all)
            await trio.sleep(1)
            waiting_at = topic.log.bounds().last
            assert waiting_at < 10
            assert [event.data for event in await events.take(20)] == list(range(20))
        async with client.stream("fed", after="earliest") as fed:
            assert (await fed.take(1))[0].event is None
        assert feeding.log.bounds().last == 100, "nobody reads it: it need not wait"


async def test_a_cancelled_publication_that_waits_for_room_stores_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    topic = server.topic("a", accepts=int, slow="block", retain=1)
    async with testing.serve(server) as client, client.stream("a"):
        with trio.move_on_after(1) as scope:
            for n in range(20):
                await topic.publish(n)
        assert scope.cancelled_caught
        before = topic.log.bounds().last
        await trio.sleep(1)
        assert topic.log.bounds().last == before


async def test_a_reader_in_a_pipeline_counts_as_a_subscriber() -> None:
    topic = Server().topic("a", accepts=int)
    async with topic.values().open(), topic.events().open():
        await trio.testing.wait_all_tasks_blocked()
        assert len(topic.audience) == 2
    assert len(topic.audience) == 0
