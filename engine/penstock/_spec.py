"""What a pipeline is made of: frozen nodes that say what each stage does, and nothing that runs.

A `Node` is a stage: an operator spec, the nodes it reads from, a name, and the line it was written
on. There are two kinds of operator that users meet as one:

- *element operators* (`StepOp`) are a function from a list of items to a list of items; runs of
  them are fused into the task that feeds them and cost one call per chunk;
- *task operators* (`TaskOp`) are ``async def work(receive, send)`` in a task of their own.

Sources and sinks come in the same two kinds. `Boundary` is only a channel (`buffer`, `merge`).
The functions in a spec are module-level or partials of such, so a spec pickles where the user's
functions do.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from ._errors import Location

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
R = TypeVar("R")

Chunk: TypeAlias = list[Any]
Step: TypeAlias = Callable[[Chunk], Chunk]
Overflow: TypeAlias = Literal["block", "drop_oldest", "drop_newest", "conflate", "fail"]

DEFAULT_CAPACITY = 1024


class Receiver(Protocol[T]):
    """The reading side that a custom transform or sink gets."""

    def __aiter__(self) -> AsyncIterator[T]:
        """Iterate over the items, one at a time, until the stream ends."""
        ...

    def chunks(self) -> AsyncIterator[list[T]]:
        """Iterate over lists of items: all that is there each time, never an empty list."""
        ...

    async def chunk(self) -> list[T]:
        """Wait for at least one item and take all there are.

        Raises ``trio.EndOfChannel`` once the stream has ended. Cancelled while waiting, it has
        taken nothing.
        """
        ...


class Sender(Protocol[T]):
    """The writing side that a custom producer or transform gets."""

    async def __call__(self, item: T, /) -> None:
        """Send one item; waits while the stages behind are busy (backpressure)."""
        ...

    async def chunk(self, items: list[T], /) -> None:
        """Send many items at the cost of one. The list is given away: don't touch it afterwards.

        Cancelled while waiting, a part of the items may have been sent: a prefix of the list.
        """
        ...


class CountingSender(Sender[T], Protocol[T]):
    """The sender of penstock's own operators, which also count what they leave out."""

    def skipped(self, count: int, /) -> None:
        """Count items left out because of ``errors="skip"``."""
        ...


class StepControl(Protocol):
    """What a fused operator may tell the task it runs in."""

    def finish(self) -> None:
        """No more items are wanted: end the stages before this one."""
        ...

    def at_end(self, flush: Callable[[], Chunk]) -> None:
        """Call ``flush`` once, after the last item, for what the operator still holds."""
        ...

    def skipped(self, count: int) -> None:
        """Count items left out because of ``errors="skip"``."""
        ...


class Puller(Protocol):
    """An open synchronous source."""

    def pull(self, at_most: int, /) -> Chunk:
        """Give up to about ``at_most`` items; an empty list means the end."""
        ...

    def close(self) -> None:
        """Release what the source holds; called once, also after an error."""
        ...


@dataclass(frozen=True, slots=True)
class Inlet:
    """The channel in front of a task: how many items it holds, and what happens when it is full."""

    capacity: int = DEFAULT_CAPACITY
    overflow: Overflow = "block"
    key: Callable[[Any], object] | None = None


@dataclass(frozen=True, slots=True)
class PullSource:
    """Items taken synchronously, by the chunk. ``blocking`` pulls run in a worker thread."""

    open: Callable[[], Puller]
    blocking: bool = False


@dataclass(frozen=True, slots=True)
class PushSource:
    """``async def work(send)``. With ``by_item``, it sends single items, so it is never fused."""

    work: Callable[[Sender[Any]], Awaitable[None]]
    by_item: bool = True


@dataclass(frozen=True, slots=True)
class StepOp:
    """An element operator: ``start`` makes the fresh ``list -> list`` function of one run."""

    start: Callable[[StepControl], Step]


@dataclass(frozen=True, slots=True)
class TaskOp:
    """``async def work(receive, send)`` in a task of its own, behind ``inlet``."""

    work: Callable[[Receiver[Any], CountingSender[Any]], Awaitable[None]]
    inlet: Inlet = Inlet()
    by_item: bool = False


@dataclass(frozen=True, slots=True)
class Boundary:
    """A channel and nothing else; with several inputs they share it."""

    inlet: Inlet = Inlet()


@dataclass(frozen=True, slots=True)
class StepSink:
    """A sink that needs no task: ``start`` gives ``(consume, result)`` for one run."""

    start: Callable[[StepControl], tuple[Callable[[Chunk], None], Callable[[], Any]]]


@dataclass(frozen=True, slots=True)
class TaskSink:
    """``async def work(receive) -> result`` in a task of its own."""

    work: Callable[[Receiver[Any]], Awaitable[Any]]
    inlet: Inlet = Inlet()


SourceOp: TypeAlias = PullSource | PushSource
SinkOp: TypeAlias = StepSink | TaskSink
Operator: TypeAlias = SourceOp | StepOp | TaskOp | Boundary | SinkOp


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One stage of a pipeline. Nodes are compared by identity: two equal stages are two stages."""

    name: str
    op: Operator
    inputs: tuple[Node, ...] = ()
    where: Location | None = None


@dataclass(frozen=True, slots=True)
class Sink(Generic[T_contra, T_co]):
    """The end of a pipeline: takes items of one type, gives one result. Used with ``Stream.to``."""

    name: str
    op: SinkOp


def function_name(function: object) -> str:
    """The name a function is shown by in stage names: ``parse``, ``<lambda>``, ``Parser``."""
    name = getattr(function, "__name__", None) or type(function).__name__
    return str(name)


def stage_name(operator: str, function: object = None) -> str:
    """``map(parse)``, or ``batch`` where the operator has no function."""
    return operator if function is None else f"{operator}({function_name(function)})"


def caller() -> Location | None:
    """The innermost line of code that is not penstock's own."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - the way to a line
    walk: Any = frame
    while walk is not None:
        package = str(walk.f_globals.get("__name__", "")).partition(".")[0]
        if package == "trio":
            return None  # made while it runs, by no line of the user's
        if package not in ("penstock", "penstock_server"):
            return Location(walk.f_code.co_filename, walk.f_lineno)
        walk = walk.f_back
    return None


def ancestors(node: Node) -> Iterable[Node]:
    """The node and every node before it, each once, inputs before the nodes that read them."""
    seen: set[int] = set()
    order: list[Node] = []
    stack: list[tuple[Node, bool]] = [(node, False)]
    while stack:
        current, expanded = stack.pop()
        if expanded:
            order.append(current)
        elif id(current) not in seen:
            seen.add(id(current))
            stack.append((current, True))
            stack.extend((each, False) for each in reversed(current.inputs))
    return order
