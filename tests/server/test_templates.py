"""Templates: one topic per value in the name, made at its first use and dropped when idle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
import trio
import trio.testing

import penstock as ps
from penstock_server import Limits, Server, Topic, testing
from penstock_server.templates import Pattern, TooManyTopics


@dataclass
class Message:
    text: str


# Names


@pytest.mark.parametrize(
    ("pattern", "name", "values"),
    [
        ("room.{room}", "room.a", {"room": "a"}),
        ("room.{room}", "room.A_b-9", {"room": "A_b-9"}),
        ("room.{room}", "room." + "x" * 64, {"room": "x" * 64}),
        ("room.{room}", "room." + "x" * 65, None),
        ("room.{room}", "room.", None),
        ("room.{room}", "room.a.b", None),
        ("room.{room}", "room.a\n", None),
        ("room.{room}", "room.größe", None),
        ("room.{room}", "rooms.a", None),
        ("{user}", "ada", {"user": "ada"}),
        ("user-{id}-log", "user-7-log", {"id": "7"}),
        ("user-{id}-log", "user--log", None),
        ("a.{x}.b.{y}", "a.1.b.2", {"x": "1", "y": "2"}),
        ("a.{x}.b.{y}", "a.1.c.2", None),
    ],
)
def test_which_names_a_template_stands_for(
    pattern: str, name: str, values: dict[str, str] | None
) -> None:
    understood = Pattern(pattern)
    assert understood.match(name) == values
    if values is not None:
        assert understood.fill(values) == name


def test_a_name_longer_than_any_topics_is_none() -> None:
    pattern = Pattern(".".join(f"{{p{n}}}" for n in range(3)))
    assert pattern.match(".".join(["x" * 42] * 3)) is not None
    assert pattern.match(".".join(["x" * 43] * 3)) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("room.{room", "of letters, digits"),
        ("room.room}", "of letters, digits"),
        ("room.{}", "of letters, digits"),
        ("room.{a}{b}", "at most one between two dots"),
        ("room.{a}-{b}", "at most one between two dots"),
        ("room.{a b}", "of letters, digits"),
        ("room/{a}", "of letters, digits"),
        ("room.{1a}", "can't be the name of a function's parameter"),
        ("room.{class}", "can't be the name of a function's parameter"),
        ("{a}.{a}", "twice"),
        ("x" * 130 + "{a}", "at most 128 characters"),
    ],
)
def test_a_wrong_template_is_refused_with_its_line(name: str, problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=problem) as refused:
        Server().topic(name)
    assert refused.value.stage == f"topic {name!r}"
    assert refused.value.where is not None
    assert refused.value.where.file == __file__


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("room.{a}", "room.{b}", True),
        ("room.{a}", "{b}.lobby", True),
        ("room.{a}", "rooms.{a}", False),
        ("room.{a}", "room.{a}.log", False),
        ("{a}", "{a}.{b}", False),
        ("x-{a}", "{a}-y", True),
        ("x-{a}", "y-{a}", False),
        ("{a}-x", "{a}-y", False),
        ("x{a}.k", "xy.{a}", True),
        ("xyz{a}.k", "xy.{a}", False),
        ("x{a}x.k", "x.{a}", False),
    ],
)
def test_two_templates_for_one_name_are_refused(one: str, other: str, overlap: bool) -> None:
    for first, second in ((one, other), (other, one)):
        server = Server()
        declared = server.topic(first)
        assert Pattern(first).overlaps(Pattern(second)) is overlap
        if overlap:
            with pytest.raises(ps.PipelineError, match="could stand for the same name as") as no:
                server.topic(second)
            assert str(declared.where) in no.value.problem
        else:
            server.topic(second)


def test_a_template_is_declared_once() -> None:
    server = Server()
    server.topic("room.{a}")
    with pytest.raises(ps.PipelineError, match=r"there is a topic 'room\.\{a\}' already"):
        server.topic("room.{a}")


# The function


def test_the_function_takes_the_values_in_the_name() -> None:
    rooms = Server().topic("room.{room}")

    def two(room: str, other: str) -> ps.Stream[str]:
        return ps.from_iterable([room, other])

    with pytest.raises(ps.PipelineError, match=r"keyword arguments room: .*other") as refused:
        rooms(two)
    assert refused.value.where == ps.Location(__file__, two.__code__.co_firstlineno)

    @rooms
    def one(room: str) -> ps.Stream[str]:
        return ps.from_iterable([room])

    assert one is rooms


async def test_each_instance_runs_its_own_pipeline(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()

    @server.topic("count.{name}")
    def count(name: str) -> ps.Stream[str]:
        return ps.every(1).map(lambda n: f"{name} {n}")

    async with testing.serve(server) as client:
        async with client.stream("count.a") as a:
            assert [event.data for event in await a.take(2)] == ["a 0", "a 1"]
            async with client.stream("count.b") as b:
                assert [event.data for event in await b.take(2)] == ["b 0", "b 1"]
        states = [server.hub.supervisors["count.a"].state]
    states.append(server.hub.supervisors["count.a"].state)
    assert states == ["running", "stopped"]


# Instances in code


async def test_an_instance_is_published_to_and_read() -> None:
    server = Server()
    rooms = server.topic("room.{room}", accepts=Message)
    a = rooms.instance(room="a")
    assert a is rooms.instance(room="a")
    assert a.name == "room.a"
    await a.publish(Message("hi"))
    a.log.finish()
    assert await a.values("earliest").to(ps.collect()).run() == [Message("hi")]
    assert rooms.instance(room="b").cursor.offset == 0
    assert set(server.topics) == {"room.a", "room.b"}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "takes room=, not nothing"),
        ({"rom": "a"}, "takes room=, not rom="),
        ({"room": "a", "more": "b"}, "takes room=, not room=, more="),
        ({"room": "a.b"}, "room must be 1 to 64 letters"),
        ({"room": ""}, "room must be 1 to 64 letters"),
        ({"room": 7}, "room must be 1 to 64 letters"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], problem: str) -> None:
    rooms = Server().topic("room.{room}")
    with pytest.raises(ps.PipelineError, match=problem):
        rooms.instance(**values)


async def test_a_template_itself_is_no_topic() -> None:
    rooms: Topic[Any] = Server().topic("room.{room}", accepts=object)
    with pytest.raises(ps.PipelineError, match="publish to one of its topics"):
        await rooms.publish(1)
    for read in (rooms.values, rooms.events):
        with pytest.raises(ps.PipelineError, match="read one of its topics"):
            read()
    with pytest.raises(ps.PipelineError, match="is one topic, no template"):
        Server().topic("plain").instance(room="a")


def test_an_exact_name_wins() -> None:
    server = Server()
    rooms = server.topic("room.{room}")
    lobby = server.topic("room.lobby")
    assert server.hub.find("room.lobby") is lobby
    assert rooms.instance(room="lobby") is lobby


# Over the wire


async def test_made_at_the_first_use_of_any_kind() -> None:
    server = Server()
    server.topic("room.{room}", accepts=Message)
    async with testing.serve(server) as client, client.websocket() as ws:
        assert (await client.get("/topics/room.page?format=json")).status == 200
        cursor = await client.publish("room.post", {"text": "x"})
        assert cursor.endswith("-1")
        async with client.stream("room.sse"):
            pass
        await ws.send({"type": "subscribe", "topic": "room.ws"})
        await ws.receive_until("subscribed")
        await ws.send({"type": "publish", "topic": "room.wspost", "data": {"text": "y"}})
        await ws.receive_until("published")
        names = {"room.page", "room.post", "room.sse", "room.ws", "room.wspost"}
        assert set(server.hub.topics) == names
        for unknown in ("room.", "room.a.b", "rooms.a", "room.a b"):
            answer = await client.get(f"/topics/{unknown}?format=json")
            assert answer.status == 404, unknown
        assert set(server.hub.topics) == names


async def test_past_the_bound_others_are_refused_and_those_there_live_on() -> None:
    server = Server()
    rooms = server.topic("room.{room}", accepts=Message, max_instances=2)
    async with testing.serve(server) as client, client.websocket() as ws:
        for room in "ab":
            await client.publish(f"room.{room}", {"text": "x"})
        answer = await client.get("/topics/room.c?format=json")
        assert answer.status == 429
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["content-type"] == "application/problem+json"
        detail = "The template room.{room} has 2 topics already; try again later."
        assert answer.json()["detail"] == detail
        with pytest.raises(testing.UnexpectedAnswer, match="status 429"):
            await client.publish("room.c", {"text": "x"})
        for message in ({"type": "subscribe"}, {"type": "publish", "data": {"text": "x"}}):
            await ws.send({**message, "topic": "room.c", "ref": 1})
            refused = await ws.receive_until("error")
            assert (refused["code"], refused["ref"]) == ("limit", 1)
        with pytest.raises(TooManyTopics):
            rooms.instance(room="c")
        assert (await client.publish("room.a", {"text": "y"})).endswith("-2")


# Idleness


async def test_an_idle_instance_is_dropped_and_its_next_life_has_another_epoch(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    server.topic("room.{room}", accepts=Message, idle=60)
    async with testing.serve(server, patience=200) as client:
        first = await client.publish("room.a", {"text": "x"})
        await trio.sleep(59)
        assert "room.a" in server.hub.topics
        await trio.sleep(31)
        assert "room.a" not in server.hub.topics
        assert "room.a" not in server.hub.supervisors
        second = await client.publish("room.a", {"text": "y"})
        assert second.endswith("-1")
        assert second != first
        page = (await client.get(f"/topics/room.a?format=json&after={first}")).json()
        assert page["gap"]["reason"] == "epoch"
        assert [event["data"] for event in page["events"]] == [{"text": "y"}]


async def test_uses_of_every_kind_keep_it(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(limits=Limits(body_timeout=500))
    rooms = server.topic("room.{room}", accepts=Message, idle=10)
    server.topic("derived")(lambda: rooms.instance(room="read").values())
    held = rooms.instance(room="held")
    async with testing.serve(server, patience=500) as client, client.stream("room.subscribed"):
        await client.publish("room.posted", {"text": "x"})
        with held.held():
            for _ in range(20):
                await client.publish("room.posted", {"text": "x"})
                await trio.sleep(9)
            kept = {"room.subscribed", "room.posted", "room.read", "room.held", "derived"}
            assert set(server.hub.topics) == kept
        await trio.sleep(16)
        assert set(server.hub.topics) == {"room.subscribed", "room.read", "derived"}


async def test_who_holds_on_to_a_dropped_instance_is_led_to_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    rooms = server.topic("room.{room}", accepts=Message, idle=1)
    a = rooms.instance(room="a")
    async with testing.serve(server) as client:
        await trio.sleep(5)
        assert server.hub.topics == {}
        async with client.stream("room.a") as events:
            await a.publish(Message("hi"))
            assert (await anext(events)).data == {"text": "hi"}
        assert await a.values("earliest").to(_first()).run() == Message("hi")


@ps.sink
async def _first(receive: ps.Receiver[Any]) -> Any:
    async for item in receive:
        return item
    return None


async def test_a_dropped_instances_pipeline_has_ended_before_the_next_starts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    at_work: list[str] = []
    most = 0

    @ps.producer
    async def numbers(room: str) -> Any:
        nonlocal most
        at_work.append(room)
        most = max(most, len(at_work))
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            at_work.remove(room)

    @server.topic("room.{room}", idle=1)
    def rooms(room: str) -> ps.Stream[Any]:
        return numbers(room)

    async with testing.serve(server) as client:
        for _ in range(3):
            async with client.stream("room.a") as events:
                assert (await anext(events)).data == 1
            await trio.sleep(2)  # it is dropped, but takes three seconds to end
            assert "room.a" not in server.hub.topics
            assert at_work == ["a"]
    assert most == 1
    assert at_work == []


async def test_an_instance_made_while_it_drains_starts_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    started: list[str] = []

    @server.topic("room.{room}")
    def rooms(room: str) -> ps.Stream[Any]:
        started.append(room)
        return ps.every(1)

    server.topic("slow")(lambda: ps.every(1).map_async(slowly, concurrency=1))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        await trio.sleep(0.5)
        server.hub.begin_drain()
        await trio.sleep(0.1)
        assert server.hub.find("room.late") is not None
        await server.hub.drained()
        nursery.cancel_scope.cancel()
    assert started == []


async def slowly(item: Any) -> Any:
    await trio.sleep(2)
    return item


# Derived templates


async def test_a_template_derives_from_a_template(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    raw = server.topic("raw.{room}", accepts=Message)

    @server.topic("loud.{room}")
    def loud(room: str) -> ps.Stream[str]:
        return raw.instance(room=room).values().map(lambda message: message.text.upper())

    async with testing.serve(server) as client:
        await client.publish("raw.a", {"text": "before"})
        async with client.stream("loud.a") as a, client.stream("loud.b") as b:
            await client.publish("raw.a", {"text": "to a"})
            await client.publish("raw.b", {"text": "to b"})
            assert (await anext(a)).data == "TO A"
            assert (await anext(b)).data == "TO B"


async def test_values_are_typed_by_the_template() -> None:
    server = Server()
    rooms = server.topic("room.{room}", accepts=Message)
    with pytest.raises(ValueError, match="Expected `str`"):
        await rooms.instance(room="a").publish(cast("Any", {"text": 7}))
    assert rooms.instance(room="a").cursor.offset == 0


async def test_they_are_listed_with_how_many_topics_they_have() -> None:
    server = Server()
    server.topic("room.{room}", accepts=str, max_instances=7)
    async with testing.serve(server) as client:
        server.hub.find("room.a")
        answer = await client.get("/topics")
        listed = answer.json()
        assert [topic["name"] for topic in listed["topics"]] == ["room.a"]
        assert listed["templates"] == [
            {
                "name": "room.{room}",
                "instances": 1,
                "max_instances": 7,
                "publishable": True,
                "schema": {"type": "string"},
            }
        ]
