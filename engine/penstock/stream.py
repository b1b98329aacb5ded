"""`Stream` and `Pipeline`: the typed face of the engine.

Both are immutable descriptions. A `Stream` may be used many times; each use is a stage of its own,
and a stream used twice runs its producer twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Generic, Literal, TypeGuard, TypeVar, cast, overload

import trio

from . import _options as options
from ._errors import PipelineError
from ._graph import Graph, draw
from ._run import Run, open_run
from ._spec import (
    Boundary,
    Inlet,
    Node,
    Operator,
    Overflow,
    Receiver,
    Sink,
    StepOp,
    TaskOp,
    TaskSink,
    caller,
    stage_name,
)
from ._stats import RunStats
from .transforms import blocking, concurrent, element, timed
from .transforms.element import Errors

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

Progress = Callable[[RunStats], object]

_POLICIES = ("block", "drop_oldest", "drop_newest", "conflate", "fail")


class Stream(Generic[T_co]):
    """A description of where items come from and what is done with them.

    Each method gives a new `Stream` (or, `to`, a `Pipeline`) and runs nothing. A wrong option
    raises `PipelineError` at once, naming the operator and the option. While a pipeline runs, an
    error of a function given here raises `StageError`, naming the stage and the item; where there
    is ``errors=``, ``"skip"`` leaves the item out instead, counted in the report.

    Element operators (`map` … `skip`) see a whole chunk before the next one does; items keep their
    order, effects of different stages are interleaved by the chunk.
    """

    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    def __repr__(self) -> str:
        return f"<Stream {self._node.name}>"

    def _then(self, name: str, op: Operator) -> Stream[Any]:
        return Stream(Node(name, op, (self._node,), caller()))

    # Element operators

    def map(self, f: Callable[[T_co], U], *, errors: Errors = "raise") -> Stream[U]:
        """``f(item)`` for each item. For an async function there is `map_async`."""
        _check_step("map", "f", f, errors, instead="map_async")
        return self._then(stage_name("map", f), StepOp(partial(element.start_map, f, errors)))

    @overload
    def filter(
        self, keep: Callable[[T_co], TypeGuard[U]], *, errors: Errors = "raise"
    ) -> Stream[U]: ...

    @overload
    def filter(
        self, keep: Callable[[T_co], object], *, errors: Errors = "raise"
    ) -> Stream[T_co]: ...

    def filter(self, keep: Callable[[T_co], object], *, errors: Errors = "raise") -> Stream[Any]:
        """The items for which ``keep(item)`` is true."""
        _check_step("filter", "keep", keep, errors, instead="map_async and filter its answers")
        start = partial(element.start_filter, keep, errors)
        return self._then(stage_name("filter", keep), StepOp(start))

    def flat_map(self, f: Callable[[T_co], Iterable[U]], *, errors: Errors = "raise") -> Stream[U]:
        """All items of the iterable ``f(item)``, for each item."""
        _check_step("flat_map", "f", f, errors, instead="map_async and flat_map its answers")
        start = partial(element.start_flat_map, f, errors)
        return self._then(stage_name("flat_map", f), StepOp(start))

    def scan(self, initial: U, f: Callable[[U, T_co], U], *, errors: Errors = "raise") -> Stream[U]:
        """The running result: ``state = f(state, item)`` for each item, given after each.

        ``initial`` is where each run starts; it is not given itself.
        """
        _check_step("scan", "f", f, errors, instead="an async @transform of your own")
        start = partial(element.start_scan, initial, f, errors)
        return self._then(stage_name("scan", f), StepOp(start))

    def take(self, count: int) -> Stream[T_co]:
        """The first ``count`` items; then the stages before it are ended, with their cleanup."""
        options.whole_number("take", "count", count, at_least=0)
        return self._then("take", StepOp(partial(element.start_take, count)))

    def skip(self, count: int) -> Stream[T_co]:
        """All but the first ``count`` items."""
        options.whole_number("skip", "count", count, at_least=0)
        return self._then("skip", StepOp(partial(element.start_skip, count)))

    def tap(self, f: Callable[[T_co], object], *, errors: Errors = "raise") -> Stream[T_co]:
        """Call ``f(item)`` for its effect; the items go on as they are."""
        _check_step("tap", "f", f, errors, instead="map_async")
        return self._then(stage_name("tap", f), StepOp(partial(element.start_tap, f, errors)))

    def via(self, f: Callable[[Stream[T_co]], Stream[U]]) -> Stream[U]:
        """``f(self)``: a piece of a pipeline written as a function, or a `transform`."""
        options.function("via", "f", f)
        given = cast("object", f(self))
        if not isinstance(given, Stream):
            raise options.refuse(
                "via",
                f"{stage_name('f', f)} must give a Stream, but gave {given!r}; a @transform that"
                " has options is called with them first: .via(f(option))",
            )
        return cast("Stream[U]", given)

    # Task operators

    def map_async(
        self,
        f: Callable[[T_co], Awaitable[U]],
        concurrency: int,
        *,
        ordered: bool = True,
        errors: Errors = "raise",
    ) -> Stream[U]:
        """``await f(item)`` for up to ``concurrency`` items at a time.

        With ``ordered`` the results keep the order of the items, else they come as they are done.
        At most twice ``concurrency`` items are taken and not yet passed on. Cancelled, the calls
        in flight are cancelled and their items abandoned.
        """
        options.function("map_async", "f", f)
        options.whole_number("map_async", "concurrency", concurrency, at_least=1)
        options.one_of("map_async", "errors", errors, ("raise", "skip"))
        work = partial(concurrent.map_async, f, concurrency, ordered, errors)
        return self._then(stage_name("map_async", f), TaskOp(work))

    def map_blocking(
        self,
        f: Callable[[T_co], U],
        workers: int,
        *,
        on: Literal["thread", "process"] = "thread",
        errors: Errors = "raise",
    ) -> Stream[U]:
        """``f(item)`` on up to ``workers`` threads or processes, in order.

        Items travel in groups of about 10 ms of work, so a cheap function pays no hand-over per
        item; at most twice ``workers`` groups are in flight. On processes ``f``, its items and its
        results are pickled, so ``f`` must be importable by name (no lambda). A worker process that
        dies is a `StageError`. Cancelled, calls that run are waited for, further ones are not made.
        """
        options.function("map_blocking", "f", f, instead="map_async")
        options.whole_number("map_blocking", "workers", workers, at_least=1)
        options.one_of("map_blocking", "on", on, ("thread", "process"))
        options.one_of("map_blocking", "errors", errors, ("raise", "skip"))
        if on == "process":
            options.importable("map_blocking", "f", f)
        work = blocking.map_on_processes if on == "process" else blocking.map_on_threads
        return self._then(stage_name("map_blocking", f), TaskOp(partial(work, f, workers, errors)))

    def batch(self, size: int, within: float | None = None) -> Stream[list[T_co]]:
        """Lists of ``size`` items; the last may be shorter.

        With ``within``, a list goes out at the latest that many seconds after its first item.
        """
        options.whole_number("batch", "size", size, at_least=1)
        if within is None:
            return self._then("batch", StepOp(partial(element.start_batch, size)))
        options.seconds("batch", "within", within)
        return self._then("batch", TaskOp(partial(timed.batch_within, size, within)))

    # Flow

    def buffer(
        self,
        n: int,
        overflow: Overflow = "block",
        *,
        key: Callable[[T_co], object] | None = None,
    ) -> Stream[T_co]:
        """Room for ``n`` items between two tasks, so that both sides run concurrently.

        When it is full: ``"block"`` waits (backpressure), ``"drop_oldest"`` and ``"drop_newest"``
        throw away, counted, ``"conflate"`` keeps the newest item per ``key(item)`` (without a key,
        the newest item) and waits only for more than ``n`` keys, ``"fail"`` raises `StageError`
        from `BufferOverflow`.
        """
        options.whole_number("buffer", "n", n, at_least=1)
        options.one_of("buffer", "overflow", overflow, _POLICIES)
        if key is not None:
            if overflow != "conflate":
                raise options.refuse("buffer", 'key goes with overflow="conflate" only')
            options.function("buffer", "key", key)
        return self._then("buffer", Boundary(Inlet(n, overflow, key)))

    def merge(self, *others: Stream[U]) -> Stream[T_co | U]:
        """The items of this stream and of the others as they come; ends with the last of them."""
        return cast("Stream[T_co | U]", merge_streams((self, *others)))

    # Ends

    def to(self, sink: Sink[T_co, R]) -> Pipeline[R]:
        """Close the stream into a `Pipeline` that gives the sink's result."""
        given = cast("object", sink)
        if not isinstance(given, Sink) and callable(given):
            given = given()
        if not isinstance(given, Sink):
            raise options.refuse(
                "to", f"takes a sink such as collect() or write_jsonl(path), got {sink!r}"
            )
        return Pipeline(Node(given.name, given.op, (self._node,), caller()))

    def open(self) -> AbstractAsyncContextManager[Receiver[T_co]]:
        """Run the stream and read it: ``async with s.open() as items: async for x in items``.

        Leaving the block cancels what still runs. Raises `StageError` on leaving where a stage
        failed.
        """
        return _open_stream(self._node)

    def graph(self) -> Graph:
        """The stages and the channels between them, to be drawn."""
        return draw(self._node)


class Pipeline(Generic[R_co]):
    """A stream with a sink: something that can be run, as often as you like."""

    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    def __repr__(self) -> str:
        return f"<Pipeline to {self._node.name}>"

    async def run(self, *, progress: Progress | None = None) -> R_co:
        """Run it to its end and give the sink's result.

        Args:
            progress: called with `RunStats` ten times a second, and once at the end.

        Raises `StageError` where a stage failed, a flat ``ExceptionGroup`` of them where several
        did. Cancelled, all tasks are cancelled, every ``finally`` has run when it returns, and
        file sinks leave no half file.
        """
        async with self.open(progress=progress) as run:
            return await run.result()

    def open(self, *, progress: Progress | None = None) -> AbstractAsyncContextManager[Run[R_co]]:
        """Run it beside a block: ``async with pipeline.open() as run``.

        In the block ``run.stats()``, ``await run.result()`` and ``await run.stop(deadline)`` are
        at hand. Leaving the block waits for the end of the run, like a nursery; leaving it with an
        exception cancels the run. A run that fails while the block doesn't wait for its result
        cancels the block and raises the error from it.
        """
        return open_run(self._node, progress)

    def graph(self) -> Graph:
        """The stages and the channels between them, to be drawn."""
        return draw(self._node)


@overload
def run(pipeline: Pipeline[R], *, progress: Progress | None = None) -> R: ...


@overload
def run(pipeline: Stream[Any], *, progress: Progress | None = None) -> object: ...


def run(pipeline: Pipeline[Any] | Stream[Any], *, progress: Progress | None = None) -> Any:
    """Run a pipeline from synchronous code and give its sink's result. See `Pipeline.run`.

    Ctrl-C cancels it. Not to be called from async code: ``await pipeline.run()`` there.
    """
    if not isinstance(pipeline, Pipeline):
        raise options.refuse(
            "run", f"takes a Pipeline, got {pipeline!r}; end the stream in a sink: .to(collect())"
        )
    return trio.run(partial(pipeline.run, progress=progress))


def merge_streams(streams: tuple[Stream[Any], ...]) -> Stream[Any]:
    """The stage behind `Stream.merge` and `merge`."""
    for stream in streams:
        if not isinstance(stream, Stream):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise options.refuse("merge", f"takes Streams, got {stream!r}")
    if not streams:
        raise options.refuse("merge", "takes at least one Stream")
    if len(streams) == 1:
        return streams[0]
    nodes = tuple(each._node for each in streams)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - of this module
    return Stream(Node("merge", Boundary(), nodes, caller()))


def _check_step(operator: str, option: str, f: object, errors: str, *, instead: str) -> None:
    options.function(operator, option, f, instead=instead)
    options.one_of(operator, "errors", errors, ("raise", "skip"))


@asynccontextmanager
async def _open_stream(node: Node) -> AsyncGenerator[Receiver[Any], None]:
    """Lend the last channel's receiver to the body, which is the sink."""
    handed_over = trio.Event()
    lent: list[Receiver[Any]] = []

    async def lend(receive: Receiver[Any]) -> None:
        lent.append(receive)
        handed_over.set()
        await trio.sleep_forever()

    end = Node("open", TaskSink(lend), (node,), node.where)
    async with open_run(end, leave_running=False):
        await handed_over.wait()
        yield lent[0]


__all__ = ["Pipeline", "PipelineError", "Run", "Stream", "run"]
