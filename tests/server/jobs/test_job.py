"""A job as it is declared: its function, its body, and what is refused at once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from math import nan
from typing import Any

import pytest

import penstock as ps
from penstock_server import Server, testing
from penstock_server.encoding import Invalid


@dataclass
class Options:
    """A body's type."""

    depth: int = 1


def nothing() -> ps.Stream[int]:
    return ps.from_iterable([])


@ps.producer
async def yielded(options: Options) -> AsyncIterator[int]:
    yield options.depth


@ps.producer
async def sent(send: ps.Sender[int], options: Options) -> None:
    await send(options.depth)


@ps.producer
async def sent_without(send: ps.Sender[int]) -> None:
    await send(7)


def items_of(job: Any, body: object) -> list[Any]:
    return ps.run(job.stream(body).to(ps.collect()))


@pytest.mark.parametrize(
    ("function", "body", "expected"),
    [
        (lambda: ps.from_iterable([1]), {"ignored": 1}, [1]),
        (lambda body: ps.from_iterable(body), [1, 2], [1, 2]),
        (lambda body=(7,): ps.from_iterable(body), None, [7]),
        (lambda body=(7,): ps.from_iterable(body), [1], [1]),
        (lambda *bodies: ps.from_iterable(bodies), 3, [3]),
        (lambda body, scale=2: ps.from_iterable([body * scale]), 3, [6]),
        (partial(lambda scale, body: ps.from_iterable([body * scale]), 2), 3, [6]),
        (yielded, Options(3), [3]),
        (sent, Options(3), [3]),
        (sent_without, None, [7]),
    ],
)
def test_what_a_function_is_called_with(function: Any, body: object, expected: list[int]) -> None:
    job = Server().job("j")(function)
    assert items_of(job, job.body(body)) == expected


def test_a_body_is_of_the_type() -> None:
    job: Any = Server().job("j", accepts=Options)(lambda options: nothing())
    assert job.body({"depth": 3}) == Options(3)
    with pytest.raises(Invalid) as refused:
        job.body({"depth": "3"})
    assert refused.value.path == "$.depth"
    with pytest.raises(Invalid):
        job.body(None)
    assert job.schema["$ref"].endswith("Options")


def test_no_type_is_any_value() -> None:
    job: Any = Server().job("j")(lambda body: nothing())
    assert job.body({"any": [None]}) == {"any": [None]}
    assert job.schema is None


def test_an_async_generator_is_no_stream() -> None:
    async def stream(_: object) -> AsyncIterator[int]:
        yield 1

    problem = "its function is a generator, and gives no Stream; put @ps.producer between"
    with pytest.raises(ps.PipelineError, match=problem):
        Server().job("j")(stream)  # type: ignore[arg-type]


def test_a_generator_is_no_stream() -> None:
    def stream(_: object) -> Iterator[int]:
        yield 1

    with pytest.raises(ps.PipelineError, match="is a generator"):
        Server().job("j")(stream)  # type: ignore[arg-type]


def test_a_coroutine_function_gives_no_stream() -> None:
    async def stream(_: object) -> ps.Stream[int]:
        return nothing()

    with pytest.raises(ps.PipelineError, match="its function is async"):
        Server().job("j")(stream)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda a, b: nothing(), "gets the request's body, and nothing else, but needs a, b"),
        (lambda *, a: nothing(), "gets the request's body, and nothing else, but needs a"),
        (lambda a, *, b: nothing(), "but needs a, b"),
        (7, "decorates a function, not 7"),
    ],
)
def test_functions_that_are_none(function: Any, problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=re.escape(problem)) as refused:
        Server().job("j")(function)
    assert "job 'j'" in str(refused.value)
    assert str(__file__) in str(refused.value)


def test_a_second_function() -> None:
    job = Server().job("j")(nothing)
    with pytest.raises(ps.PipelineError, match="has a function already"):
        job(nothing)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (3, "return a Stream such as"),
        (None, "return a Stream such as"),
        (nothing().to(ps.collect()), "leave the sink out: the job is the sink"),
    ],
)
def test_what_is_no_stream(given: Any, hint: str) -> None:
    job = Server().job("j")(lambda: given)
    with pytest.raises(ps.PipelineError, match=hint) as refused:
        job.stream(None)
    assert "job 'j': its function gave" in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 65, "{room}", "ä", 7])
def test_names_that_are_none(name: Any) -> None:
    with pytest.raises(ps.PipelineError, match="name must be 1 to 64 of letters"):
        Server().job(name)


def test_a_name_is_taken_once() -> None:
    server = Server()
    server.topic("j")
    server.job("j")  # a topic is something else
    with pytest.raises(ps.PipelineError, match=f"there is a job 'j' already, at .*{__file__}"):
        server.job("j")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"detach": -1}, "detach must be a number of seconds, not negative, or None, got -1"),
        ({"detach": nan}, "detach must be"),
        ({"detach": "1"}, "detach must be"),
        ({"detach": True}, "detach must be"),
        ({"keep": None}, "keep must be a number of seconds, not negative, got None"),
        ({"keep": -0.5}, "keep must be"),
        ({"max_running": 0}, "max_running must be a whole number of at least 1, got 0"),
        ({"max_running": 1.5}, "max_running must be"),
        ({"max_running": True}, "max_running must be"),
        ({"retain": 0}, "retain must be a whole number of at least 1, got 0"),
        ({"slow": "fast"}, "slow must be"),
        ({"encoding": "xml"}, "encoding must be"),
        ({"accepts": 7}, "accepts"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=re.escape(problem)) as refused:
        Server().job("j", **options)
    assert "job 'j'" in str(refused.value)


async def test_a_job_is_declared_before_the_server_is_served() -> None:
    server = Server()
    assert server.app is not None
    server.job("early")(nothing)
    async with testing.serve(server):
        with pytest.raises(ps.PipelineError, match="declared before the server is served"):
            server.job("late")


def test_the_command_line_finds_a_job_without_a_function() -> None:
    server = Server()
    server.job("whole")(nothing)
    server.job("empty")
    (name, build), *others = server.named_pipelines()
    assert (name, others) == ("empty", [])
    with pytest.raises(ps.PipelineError, match="job 'empty': has no function; decorate"):
        build()
