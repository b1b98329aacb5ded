"""Declaring topics: errors name the topic, the option and the line; no web stack is loaded."""

import inspect
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from trio.testing import MockClock

import penstock as ps
from penstock.config import HasPipelines
from penstock_server import Limits, Server, Timing, testing


@dataclass
class Place:
    city: str


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"retain": 0}, "retain must be a whole number of at least 1, got 0"),
        ({"retain": 1.5}, "retain must be a whole number of at least 1, got 1.5"),
        ({"retain": True}, "retain must be a whole number of at least 1, got True"),
        ({"retain_bytes": -1}, "retain_bytes must be a whole number of at least 1, got -1"),
        ({"retain_bytes": "1M"}, "retain_bytes must be a whole number of at least 1, got '1M'"),
        ({"retain_seconds": 0}, "retain_seconds must be a number of seconds above 0, got 0"),
        ({"retain_seconds": True}, "retain_seconds must be a number of seconds above 0, got True"),
        ({"retain_seconds": float("nan")}, "retain_seconds must be a number of seconds above 0"),
        ({"encoding": "xml"}, "encoding must be 'json' or 'text', got 'xml'"),
        ({"accepts": print}, "accepts must be a dataclass"),
        ({"slow": "wait"}, "slow must be 'skip', 'conflate', 'block' or 'disconnect', got 'wait'"),
        ({"slow": []}, "slow must be 'skip', 'conflate', 'block' or 'disconnect', got []"),
        ({"start": "lazy"}, "start must be 'eager' or 'demand', got 'lazy'"),
        ({"max_lag": 0}, "max_lag must be a whole number of at least 1, got 0"),
        ({"batch": 0.5}, "batch must be a whole number of at least 1, got 0.5"),
        ({"max_instances": "9"}, "max_instances must be a whole number of at least 1, got '9'"),
        ({"stall_timeout": 0}, "stall_timeout must be a number of seconds above 0, got 0"),
        ({"idle": None}, "idle must be a number of seconds above 0, got None"),
        ({"idle": float("nan")}, "idle must be a number of seconds above 0, got nan"),
        ({"demand_grace": -1}, "demand_grace must be a number of seconds not negative, got -1"),
        ({"key": 7}, "key must be a field's name or a function of the data, got 7"),
        ({"key": ""}, "key must be a field's name or a function of the data, got ''"),
        ({"key": "town", "accepts": Place}, "key='town' is no field of what it accepts, which has"),
    ],
)
def test_a_wrong_option_is_named_with_its_topic_and_line(
    options: dict[str, Any], problem: str
) -> None:
    server = Server()
    line = inspect.currentframe().f_lineno + 2  # type: ignore[union-attr]  # CPython has frames
    with pytest.raises(ps.PipelineError) as refused:
        server.topic("cpu", **options)
    assert refused.value.stage == "topic 'cpu'"
    assert problem in refused.value.problem
    assert refused.value.where == ps.Location(__file__, line)
    assert server.topics == {}


@pytest.mark.parametrize("name", ["", "a b", "a/b", "größe", "x" * 129, "a\n", 7, None])
def test_a_wrong_name_is_refused(name: Any) -> None:
    with pytest.raises(ps.PipelineError, match="name must be 1 to 128 of letters") as refused:
        Server().topic(name)
    assert repr(name) in str(refused.value)
    assert refused.value.where is not None
    assert refused.value.where.file == __file__


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 128, "..."])
def test_other_names_are_not(name: str) -> None:
    server = Server()
    topic = server.topic(name)
    assert server.topics == {name: topic}


def test_a_name_is_taken_once() -> None:
    server = Server()
    first = server.topic("cpu")
    with pytest.raises(ps.PipelineError, match="there is a topic 'cpu' already, at ") as refused:
        server.topic("cpu")
    assert str(first.where) in refused.value.problem
    assert server.topics == {"cpu": first}


def test_options_have_their_defaults() -> None:
    topic = Server().topic("a", key="city", demand_grace=0)
    assert (topic.slow, topic.max_lag, topic.stall_timeout, topic.batch) == (
        "skip",
        1000,
        None,
        1000,
    )
    assert (topic.options.start, topic.options.idle, topic.options.max_instances) == (
        "eager",
        60.0,
        1000,
    )
    assert (topic.key, topic.pressure) == ("city", None)
    assert Server().topic("a", slow="block").pressure is not None


@pytest.mark.parametrize("option", ["direct", "websocket_compression"])
def test_a_wrong_option_of_the_server_is_named(option: str) -> None:
    wrong: Any = {option: 1}
    with pytest.raises(ps.PipelineError, match=f"{option} must be True or False, got 1") as refused:
        Server(**wrong)
    assert refused.value.where is not None
    assert refused.value.where.file == __file__


def test_the_hub_knows_the_servers_options() -> None:
    assert (Server().hub.direct, Server().hub.websocket_compression) == (True, False)
    server = Server(direct=False, websocket_compression=True)
    assert (server.hub.direct, server.hub.websocket_compression) == (False, True)


async def test_topics_are_declared_before_serving(autojump_clock: MockClock) -> None:
    server = Server()
    assert server.app is not None  # routes of one's own may stand above topics

    @server.topic("late")
    def late() -> ps.Stream[int]:
        return ps.from_iterable([1, 2])

    server.topic("late.{part}", accepts=int)
    async with testing.serve(server) as client, client.stream("late", "earliest") as events:
        assert [(await anext(events)).data for _ in range(2)] == [1, 2]
        await client.publish("late.one", 3)
        with pytest.raises(ps.PipelineError, match="declared before the server is served"):
            server.topic("too-late")


def test_its_pipelines_have_the_topics_names() -> None:
    server = Server()
    server.topic("fed")(lambda: ps.from_iterable([1]))
    server.topic("open", accepts=object)
    assert isinstance(server, HasPipelines)
    ((name, build),) = server.named_pipelines()
    assert name == "fed"
    assert isinstance(build(), ps.Stream)


def test_a_copy_of_the_topics_is_given() -> None:
    server = Server()
    server.topics["other"] = server.topic("cpu")
    assert list(server.topics) == ["cpu"]


def test_limits_and_timing_have_defaults() -> None:
    assert (Server().limits, Server().timing) == (Limits(), Timing())
    assert Server(limits=Limits(max_subscriptions=2)).limits.max_subscriptions == 2


def test_importing_and_declaring_loads_no_web_stack() -> None:
    script = """
import sys
from penstock_server import Server
import penstock_server.commands
server = Server()
server.topic("a", accepts=int)
server.topic("b")(lambda: server.topics["a"].values())
list(build() for _, build in server.named_pipelines())
loaded = {"quart", "quart_trio", "hypercorn", "werkzeug", "h2"} & set(sys.modules)
sys.exit(", ".join(loaded) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
