"""What type checkers infer of jobs. mypy and pyright, both strict, check every line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, assert_type

import penstock as ps
from penstock_server import Event, Job, Server


@dataclass
class Options:
    depth: int = 1


@ps.producer
async def levels(options: Options) -> AsyncIterator[int]:
    yield options.depth


def test_a_job_is_of_the_type_it_accepts() -> None:
    server = Server()

    @server.job("census", accepts=Options, detach=60, keep=10)
    def census(options: Options) -> ps.Stream[Event]:
        return levels(options).map(lambda level: Event(level, "level"))

    assert_type(census, Job[Options])
    assert census.accepts is Options


def test_a_function_need_not_take_the_body() -> None:
    server = Server()

    @server.job("hello", accepts=Options)
    def hello() -> ps.Stream[str]:
        return ps.from_iterable(["hello"])

    assert_type(hello, Job[Options])
    assert hello.is_declared


def test_what_a_lambda_is_given_is_inferred() -> None:
    job = Server().job("depth", accepts=Options)(lambda options: ps.from_iterable([options.depth]))
    assert_type(job, Job[Options])
    assert ps.run(job.stream(Options(3)).to(ps.collect())) == [3]


def test_a_producer_is_a_function_for_a_job() -> None:
    assert_type(Server().job("levels", accepts=Options)(levels), Job[Options])


def test_without_a_type_the_body_is_anything() -> None:
    job = Server().job("echo")(lambda body: ps.from_iterable([body]))
    assert_type(job, Job[Any])


def test_another_type_than_the_declared_one_is_an_error() -> None:
    def other(text: str) -> ps.Stream[str]:
        return ps.from_iterable([text])

    job = Server().job("other", accepts=Options)
    job(other)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # it is given Options
    assert job.accepts is Options
