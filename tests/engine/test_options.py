from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest

from penstock import PipelineError
from penstock import _options as options


class AsyncCallable:
    async def __call__(self, item: int) -> int:
        return item


async def coroutine_function(item: int) -> int:
    return item


@pytest.mark.parametrize("value", [0, 5])
def test_whole_number_accepts(value: int) -> None:
    options.whole_number("take", "count", value, at_least=0)


@pytest.mark.parametrize("value", [-1, 1.0, True, "3", None, math.nan])
def test_whole_number_refuses(value: Any) -> None:
    with pytest.raises(PipelineError, match=r"^take: count must be a whole number of at least 0"):
        options.whole_number("take", "count", value, at_least=0)


@pytest.mark.parametrize("value", [0.001, 1, 10**12])
def test_seconds_accepts(value: float) -> None:
    options.seconds("every", "seconds", value)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, -math.inf, True, "1", None])
def test_seconds_refuses(value: Any) -> None:
    with pytest.raises(PipelineError, match=r"^every: seconds must be a number of seconds"):
        options.seconds("every", "seconds", value)


def test_seconds_of_zero_only_where_it_makes_sense() -> None:
    options.seconds("delay", "seconds", 0, above_zero=False)
    with pytest.raises(PipelineError, match="seconds must be more than 0"):
        options.seconds("every", "seconds", 0)


def test_one_of_names_the_choices() -> None:
    options.one_of("buffer", "overflow", "block", ("block", "fail"))
    with pytest.raises(PipelineError, match="overflow must be one of 'block', 'fail', got 'wait'"):
        options.one_of("buffer", "overflow", "wait", ("block", "fail"))


@pytest.mark.parametrize(
    "function", [coroutine_function, AsyncCallable(), partial(coroutine_function, 1)]
)
def test_an_async_function_is_refused_with_what_to_use_instead(function: Any) -> None:
    options.function("map_async", "f", function)
    with pytest.raises(PipelineError, match=r"is async; use map_async"):
        options.function("map", "f", function, instead="map_async")


def test_what_is_not_callable_is_refused() -> None:
    with pytest.raises(PipelineError, match="map: f must be a function, got 3"):
        options.function("map", "f", 3)


def test_importable_takes_a_module_level_function_and_refuses_a_lambda() -> None:
    options.importable("map_blocking", "f", math.factorial)
    with pytest.raises(PipelineError, match="f must be importable by name"):
        options.importable("map_blocking", "f", lambda item: item)


def test_the_error_has_the_line_of_the_user() -> None:
    with pytest.raises(PipelineError) as caught:
        options.whole_number("take", "count", -1, at_least=0)
    assert caught.value.where is not None
    assert caught.value.where.file == __file__
