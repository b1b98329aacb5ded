"""Functions that turn out to be async, or not to be, while the pipeline runs."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from trio.testing import MockClock

import penstock as ps

numbers = ps.from_iterable([1, 2, 3])


async def look(*_: Any) -> Any:
    return 1


async def stream_of(n: int) -> AsyncIterator[int]:
    yield n


def plain(n: int) -> int:
    return n


def call_look(n: int) -> Any:
    return look(n)


def keyed(key: Callable[[int], Any] = lambda _: "all") -> ps.KeyedStream[Any, int]:
    return numbers.key_by(key, max_keys=9)


PIPELINES: dict[str, tuple[Callable[[], ps.Stream[Any]], str]] = {
    "map": (lambda: numbers.map(lambda n: look(n)), "use map_async"),
    "map, skipping": (lambda: numbers.map(lambda n: look(n), errors="skip"), "use map_async"),
    "map, dead letters": (
        lambda: numbers.map(lambda n: look(n), errors=ps.dead_letter(ps.drain())),
        "use map_async",
    ),
    "map, again": (lambda: numbers.map(lambda n: look(n), errors=ps.retry(3)), "use map_async"),
    "filter": (lambda: numbers.filter(lambda n: look(n)), "use map_async and filter"),
    "flat_map": (
        lambda: numbers.flat_map(lambda n: cast("Any", look(n))),
        "use flat_map_async, or map_async",
    ),
    "flat_map of a stream": (
        lambda: numbers.flat_map(lambda n: cast("Any", stream_of(n))),
        "gave an async generator; use flat_map_async",
    ),
    "tap": (lambda: numbers.tap(lambda n: look(n)), "use map_async"),
    "scan": (lambda: numbers.scan(0, lambda a, n: cast("Any", look(a, n))), "@transform"),
    "take_while": (lambda: numbers.take_while(lambda n: look(n)), "@transform"),
    "skip_while": (lambda: numbers.skip_while(lambda n: look(n)), "@transform"),
    "dedupe": (lambda: numbers.dedupe(lambda n: look(n)), "map_async first"),
    "distinct": (lambda: numbers.distinct(lambda n: look(n)), "map_async first"),
    "partition": (
        lambda: ps.merge(*numbers.partition(lambda n: look(n))),
        "partition its answers",
    ),
    "buffer": (
        lambda: numbers.buffer(9, "conflate", key=lambda n: cast("Any", look(n))),
        "map_async first",
    ),
    "key of map_async": (
        lambda: numbers.map_async(look, 2, key=lambda n: cast("Any", look(n))),
        "an ordinary function for a key",
    ),
    "key_by": (
        lambda: (
            numbers.key_by(lambda n: cast("Any", look(n)), max_keys=9)
            .window(ps.by_count(2))
            .count()
        ),
        "map_async before it",
    ),
    "key of a keyed scan": (
        lambda: keyed(lambda n: look(n)).scan(0, lambda a, n: a + n),
        "map_async before it",
    ),
    "keyed scan": (lambda: keyed().scan(0, lambda a, n: cast("Any", look(a, n))), "@transform"),
    "keyed dedupe": (lambda: keyed().dedupe(lambda n: look(n)), "map_async before it"),
    "key of a keyed dedupe": (lambda: keyed(lambda n: look(n)).dedupe(), "map_async before it"),
    "map_blocking": (lambda: numbers.map_blocking(lambda n: look(n), 1), "use map_async"),
    "map_blocking, skipping": (
        lambda: numbers.map_blocking(lambda n: look(n), 1, errors="skip"),
        "use map_async",
    ),
    "map_blocking on processes": (
        lambda: numbers.map_blocking(call_look, 1, on="process"),
        "use map_async",
    ),
}


@pytest.mark.parametrize(("make", "instead"), PIPELINES.values(), ids=PIPELINES)
async def test_a_lambda_that_gives_a_coroutine_is_told_what_to_use(
    make: Callable[[], ps.Stream[Any]], instead: str, autojump_clock: MockClock
) -> None:
    stream = make()
    for _ in range(2):  # each run looks anew
        with pytest.raises(ps.StageError) as caught:
            await stream.to(ps.collect()).run()
        assert isinstance(caught.value.cause, TypeError)
        assert " failed on item 1: AsyncMismatch: the function gave a" in str(caught.value)
        assert instead in str(caught.value)
    del caught
    gc.collect()  # a coroutine that nobody closed would warn now


@pytest.mark.parametrize("errors", ["raise", "skip", ps.retry(3)])
async def test_a_fold_that_gives_coroutines_is_told_what_to_use(errors: Any) -> None:
    with pytest.raises(ps.StageError, match="the function gave a coroutine; use for_each"):
        await numbers.to(ps.fold(0, lambda a, n: cast("Any", look(a, n)), errors=errors)).run()


async def test_a_keyed_reduce_that_gives_coroutines_is_told_so_at_its_first_call() -> None:
    pairs = keyed().reduce(lambda a, n: cast("Any", look(a, n)))
    with pytest.raises(ps.StageError, match=r"on item 2: .*gave a coroutine; use an async @trans"):
        await pairs.to(ps.collect()).run()


async def test_items_that_are_coroutines_are_nobodys_mistake() -> None:
    coroutines = [look() for _ in range(3)]
    passed = ps.from_iterable(coroutines).tap(lambda _: None).filter(lambda _: True)
    assert await passed.map_async(lambda one: one, 1).to(ps.collect()).run() == [1, 1, 1]


@pytest.mark.parametrize("errors", ["raise", "skip", ps.retry(3)])
@pytest.mark.parametrize("f", [plain, lambda n: n, abs])
async def test_a_plain_function_in_map_async_is_told_what_to_use(f: Any, errors: Any) -> None:
    with pytest.raises(ps.StageError, match="is not async; use map, or map_blocking if it waits"):
        await numbers.map_async(f, 2, errors=errors).to(ps.collect()).run()


async def test_another_type_error_in_map_async_is_the_users_own() -> None:
    async def fail(_: int) -> None:
        await cast("Any", 1)

    for f in (fail, lambda n: cast("Any", len(n))):
        with pytest.raises(ps.StageError) as caught:
            await numbers.map_async(f, 1).to(ps.collect()).run()
        assert type(caught.value.cause) is TypeError
