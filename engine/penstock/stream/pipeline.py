"""`Pipeline`: a stream with a sink, and what runs it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Generic, TypeVar, overload

import trio

from .. import _options as options
from .._errors import PenstockError
from .._findings import Finding, findings
from .._graph import Graph, draw
from .._run import Progress, Run, open_run
from .._spec import Gathered, Node, caller

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


class Pipeline(Generic[R_co]):
    """A stream with a sink: something that can be run, as often as you like."""

    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    def __repr__(self) -> str:
        return f"<Pipeline to {self._node.name}>"

    async def run(self, *, progress: Progress | None = None, watchdog: bool = False) -> R_co:
        """Run it to its end and give the sink's result.

        Args:
            progress: called with `RunStats` ten times a second, and once at the end.
            watchdog: warn of stages that hold the event loop for over 0.1 s; see `Watchdog` for
                what it tells and what it costs.

        Raises `StageError` where a stage failed, a flat ``ExceptionGroup`` of them where several
        did. Cancelled, all tasks are cancelled, every ``finally`` has run when it returns, and
        file sinks leave no half file.
        """
        async with self.open(progress=progress, watchdog=watchdog) as run:
            return await run.result()

    def open(
        self, *, progress: Progress | None = None, watchdog: bool = False
    ) -> AbstractAsyncContextManager[Run[R_co]]:
        """Run it beside a block: ``async with pipeline.open() as run``.

        In the block ``run.stats()``, ``await run.result()`` and ``await run.stop(deadline)`` are
        at hand. Leaving the block waits for the end of the run, like a nursery; leaving it with an
        exception cancels the run. A run that fails while the block doesn't wait for its result
        cancels the block and raises the error from it.
        """
        return open_run(self._node, progress, watchdog=watchdog)

    def graph(self) -> Graph:
        """The stages and the channels between them, to be drawn."""
        return draw(self._node)

    def check(self) -> tuple[Finding, ...]:
        """What can be said against it without running it: ``penstock check`` shows it.

        Errors are what it can't be run with; warnings, memory that grows without a bound; hints,
        what may not be meant so.
        """
        return findings(self._node)


def run(pipeline: Pipeline[R], *, progress: Progress | None = None, watchdog: bool = False) -> R:
    """Run a pipeline from synchronous code and give its sink's result. See `Pipeline.run`.

    Ctrl-C cancels it. In async code it raises `PenstockError`: ``await pipeline.run()`` there.
    """
    if not isinstance(pipeline, Pipeline):
        raise options.refuse(
            "run", f"takes a Pipeline, got {pipeline!r}; end the stream in a sink: .to(collect())"
        )
    if trio.lowlevel.in_trio_run():
        raise PenstockError("run() is for synchronous code; in async code: await pipeline.run()")
    return trio.run(partial(pipeline.run, progress=progress, watchdog=watchdog))


@overload
def gather(a: Pipeline[A], b: Pipeline[B], /) -> Pipeline[tuple[A, B]]: ...


@overload
def gather(a: Pipeline[A], b: Pipeline[B], c: Pipeline[C], /) -> Pipeline[tuple[A, B, C]]: ...


@overload
def gather(
    a: Pipeline[A], b: Pipeline[B], c: Pipeline[C], d: Pipeline[D], /
) -> Pipeline[tuple[A, B, C, D]]: ...


@overload
def gather(*pipelines: Pipeline[Any]) -> Pipeline[tuple[Any, ...]]: ...


def gather(*pipelines: Pipeline[Any]) -> Pipeline[Any]:
    """Several pipelines as one, whose result is the tuple of their results.

    They run together in one nursery: the first that fails cancels the others. It is how the
    branches of a `Stream.broadcast` or a `Stream.partition` come to their ends:
    ``gather(a.to(write_jsonl(path)), b.to(count()))``.
    """
    ends: list[Node] = []
    for each in pipelines:
        if not isinstance(each, Pipeline):
            raise options.refuse(
                "gather", f"takes Pipelines, got {each!r}; end a stream in a sink: .to(collect())"
            )
        node = each._node  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - of this module
        if isinstance(node.op, Gathered):
            raise options.refuse("gather", "takes no gathered pipelines; give all of them to one")
        ends.append(node)
    if not ends:
        raise options.refuse("gather", "takes at least one Pipeline")
    return Pipeline(Node("gather", Gathered(), tuple(ends), caller()))
