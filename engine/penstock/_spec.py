"""What a pipeline is made of: frozen nodes that say what each stage does, and nothing that runs.

A `Node` is a stage: an operator spec, the nodes it reads from, a name, and the line it was written
on. There are two kinds of operator that users meet as one:

- *element operators* (`StepOp`) are a function from a list of items to a list of items; runs of
  them are fused into the task that feeds them and cost one call per chunk;
- *task operators* (`TaskOp`) are ``async def work(receive, send)`` in a task of their own.

Sources and sinks come in the same two kinds. `Boundary` is only a channel (`buffer`, `merge`);
`JoinOp` is a task with a channel for each of its inputs (`zip`); `SplitOp` deals items out to
several `Branch` nodes (`broadcast`); `Gathered` is several pipelines as one.

A node may have *sides*: sinks beside the stream, fed by the stage itself (dead letters, late
items). Nodes that name the same sink object share it.
The functions in a spec are module-level or partials of such, so a spec pickles where the user's
functions do.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from ._errors import Location
from ._waiting_clock import WaitingClock

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)

Chunk: TypeAlias = list[Any]
Step: TypeAlias = Callable[[Chunk], Chunk]
Overflow: TypeAlias = Literal["block", "drop_oldest", "drop_newest", "conflate", "fail"]
Gives: TypeAlias = Literal["one", "at_most_one", "any"]

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


class Tally(Protocol):
    """Where penstock's own operators tell of items that don't go on."""

    def skipped(self, count: int, /) -> None:
        """Count items left out because of ``errors="skip"``."""
        ...

    def dropped(self, count: int, /) -> None:
        """Count items thrown away by the operator's policy (a throttle, too many keys)."""
        ...

    def retried(self, count: int, /) -> None:
        """Count calls made again after a failure, or starts of a source."""
        ...

    def evicted(self, count: int, /) -> None:
        """Count keys whose state was let go of to keep within bounds."""
        ...

    def holds(self, held: Callable[[], int], /) -> None:
        """Say how many of the items it took the operator has in its hands, at any moment."""
        ...

    async def dead_letter(
        self, letters: Any, item: Any, error: Exception, attempts: int, /
    ) -> None:
        """Send a failed item to the sink of ``letters`` (a `DeadLetters`); counts it."""
        ...

    async def aside(self, sink: Sink[Any, Any], items: Chunk, /) -> None:
        """Send late items to one of the node's other side sinks; the list is given away."""
        ...


class CountingSender(Sender[T], Tally, Protocol[T]):
    """The sender of penstock's own operators, which also tell what they leave out."""

    @property
    def given(self) -> int:
        """How many items it was given to send, those that it is still sending included."""
        ...

    async def until_wanted(self) -> None:
        """Wait until the stage behind the next channel waits for items.

        At once where that is a buffer that was asked for, or one of several channels.
        """
        ...


class StepControl(Protocol):
    """What a fused operator may tell the task it runs in."""

    def finish(self) -> None:
        """No more items are wanted: end the stages before this one."""
        ...

    def at_end(self, flush: Callable[[], Chunk], held: Callable[[], int] | None = None) -> None:
        """Call ``flush`` once, after the last item, for what the operator still holds.

        ``held`` says how many items that is, to count them where the run ends early.
        """
        ...

    def skipped(self, count: int) -> None:
        """Count items left out because of ``errors="skip"``."""
        ...

    def dropped(self, count: int) -> None:
        """Count items thrown away by the operator's policy (too many keys)."""
        ...

    def evicted(self, count: int) -> None:
        """Count keys whose state was let go of to keep within bounds."""
        ...

    def waiting_clock(self) -> WaitingClock:
        """A clock that goes on while the task waits for items. Asked for at the start only."""
        ...

    def dead_letter(self, letters: Any, item: Any, error: Exception) -> None:
        """Send a failed item to the sink of ``letters``, once this piece is done; counts it."""
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
    """The channel in front of a task: how many items it holds, and what happens when it is full.

    ``keyed``: each item comes as a pair, the key that it is conflated by and the item.
    """

    capacity: int = DEFAULT_CAPACITY
    overflow: Overflow = "block"
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class PullSource:
    """Items taken synchronously, by the chunk. A ``blocking`` one is used in worker threads."""

    open: Callable[[], Puller]
    blocking: bool = False


@dataclass(frozen=True, slots=True)
class PushSource:
    """``async def work(send)``. With ``by_item``, it sends single items, so it is never fused."""

    work: Callable[[CountingSender[Any]], Awaitable[None]]
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
class JoinOp:
    """``async def work(receivers, send)``: a task with a channel for each of its inputs.

    ``together``: it may wait for one input while it leaves the items of another waiting.
    ``in_turn``: it does so with one item of each input at a time.
    ``one_by_one``: it takes all of an input before it asks the next; what feeds only that one
    starts then.
    ``gives`` is how many items it gives for one of each input.
    """

    work: Callable[[tuple[Receiver[Any], ...], CountingSender[Any]], Awaitable[None]]
    together: bool = False
    in_turn: bool = False
    one_by_one: bool = False
    gives: Gives = "any"
    inlet: Inlet = Inlet()


@dataclass(frozen=True, slots=True)
class SplitOp:
    """Deals items out: ``deal(items)`` gives a list for each of the ``branches``.

    Each item goes to at least one branch; with ``copies``, to all of them.
    """

    branches: int
    deal: Callable[[Chunk], list[Chunk]]
    copies: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A channel that gets what the `SplitOp` before it deals to number ``index``."""

    index: int
    inlet: Inlet = Inlet()


@dataclass(frozen=True, slots=True)
class Boundary:
    """A channel and nothing else; with several inputs they share it."""

    inlet: Inlet = Inlet()


@dataclass(frozen=True, slots=True)
class StepSink:
    """A sink that needs no task: ``start`` gives ``(consume, result)`` for one run."""

    start: Callable[[StepControl], tuple[Callable[[Chunk], None], Callable[[], Any]]]


class Filling(Protocol):
    """An open sink that gathers what it is given, and must be emptied now and then."""

    def consume(self, items: Chunk, /) -> None:
        """Take the next items; raises `ItemFailed`."""
        ...

    def is_full(self) -> bool:
        """Whether it must be emptied before it is given more."""
        ...

    async def empty(self) -> None:
        """Wait until it has room again. May be called by several tasks at a time."""
        ...

    async def end(self) -> Any:
        """Wait until all that was taken is done with; the result, which may be `Unpublished`."""
        ...


@dataclass(frozen=True, slots=True)
class FillingSink:
    """A sink that takes items without waiting in the task that makes them, and waits at times.

    ``open(control)`` is entered around the whole task. It may have tasks of its own meanwhile; what
    they raise ends the run. It is left with an error where the run fails or is cancelled.
    """

    open: Callable[[StepControl], AbstractAsyncContextManager[Filling]]


@dataclass(frozen=True, slots=True)
class TaskSink:
    """``async def work(receive, tally) -> result`` in a task of its own.

    The result may be `Unpublished`.
    """

    work: Callable[[Receiver[Any], Tally], Awaitable[Any]]
    inlet: Inlet = Inlet()


@dataclass(frozen=True, slots=True, eq=False)
class Unpublished:
    """What a sink gives whose work is to be seen only when the whole run has ended well.

    The run calls ``publish`` then, and else ``discard``, from a task that can't be cancelled. A
    ``publish`` that raises has discarded it.

    Attributes:
        name: what is to be seen: of several of one name only the last is published.
        result: the sink's result.
    """

    name: str
    result: Any
    publish: Callable[[], Awaitable[object]]
    discard: Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Gathered:
    """Several pipelines as one; the result is the tuple of theirs."""


SourceOp: TypeAlias = PullSource | PushSource
SinkOp: TypeAlias = StepSink | FillingSink | TaskSink
Operator: TypeAlias = (
    SourceOp | StepOp | TaskOp | JoinOp | SplitOp | Branch | Boundary | SinkOp | Gathered
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a stage has to itself in a run: no other may make a claim to the same ``thing``.

    Attributes:
        thing: the file, by its real path; or standard input.
        does: what the stage does with it, as a verb: ``writes``.
        instead: what comes of two stages that do, and what to do about it.
    """

    thing: str
    does: str
    instead: str


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a stage without running it.

    Attributes:
        each: it gives one item for each that it takes, unless one is skipped, dropped or sent
            aside. So what it holds back at the end was abandoned.
        endless: a source that never ends by itself.
        ends: it may end the stream by itself, whatever its source does.
        at_end: what is to be seen only when the stream has ended, in a few words.
        grows: what makes its memory grow with the stream, in a few words; "" where nothing does.
        fails: an error of the user's function here ends the run (``errors="raise"``).
        gives: how many items it gives for each that it takes. With ``"one"`` it leaves none out,
            adds none, and waits for no later item before it gives one: branches that run through
            it meet again in step. With ``"at_most_one"`` it never gave more than it took.
        takes: how many items it takes for each that it gives, where that is known and above 1; 0
            elsewhere.
        of_source: it is one producer, to its users, with the source that it reads from.
        once: of a source, why it is not to be started anew after a failure, and what to do
            instead, as the end of a sentence; "" where it may be.
        claim: what it must have to itself.
    """

    each: bool = False
    endless: bool = False
    ends: bool = False
    at_end: str = ""
    grows: str = ""
    fails: bool = False
    gives: Gives = "any"
    takes: int = 0
    of_source: bool = False
    once: str = ""
    claim: Claim | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One stage of a pipeline. Nodes are compared by identity: two equal stages are two stages."""

    name: str
    op: Operator
    inputs: tuple[Node, ...] = ()
    where: Location | None = None
    traits: Traits = Traits()
    sides: tuple[Sink[Any, Any], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Sink(Generic[T_contra, T_co]):
    """The end of a pipeline: takes items of one type, gives one result. Used with ``Stream.to``."""

    name: str
    op: SinkOp
    traits: Traits = Traits()
    sides: tuple[Sink[Any, Any], ...] = ()

    def __repr__(self) -> str:
        return f"<Sink {self.name}>"


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
