"""`Stream`: where items come from and what is done with them, as an immutable description.

It may be used many times; each use is a stage of its own, and a stream used twice runs its producer
twice.
"""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Hashable,
    Iterable,
    Mapping,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Generic, Literal, TypeGuard, TypeVar, cast, overload

import trio

from .. import _options as options
from .._backoff import Backoff
from .._channel import ChannelReceiver
from .._failing import Errors, Retry, can_fail, check_errors, sides_of
from .._graph import Graph, draw
from .._run import open_run
from .._spec import (
    DEFAULT_CAPACITY,
    Boundary,
    Gives,
    Inlet,
    Node,
    Operator,
    Overflow,
    PullSource,
    PushSource,
    Receiver,
    Sink,
    SplitOp,
    Step,
    StepControl,
    StepOp,
    Tally,
    TaskOp,
    TaskSink,
    Traits,
    caller,
    stage_name,
)
from ..transforms import (
    adjacent,
    concurrent,
    conflating,
    element,
    restarting,
    retrying,
    splitting,
)
from ..transforms.blocking.mapping import map_on_processes, map_on_threads
from ..transforms.element import AtOnce
from ..transforms.inner import flattening, switching
from ..transforms.inner.driving import InnerStreams
from ..transforms.timing import batching, silence, spacing, thinning
from . import joining
from .keyed import KeyedStream
from .pipeline import Pipeline
from .splitting import Partition, branches, routes_of

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
K = TypeVar("K", bound=Hashable)
R = TypeVar("R")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

_PLAIN = Traits()
_ORDINARY = Inlet()
_ONE_FOR_ONE = Traits(each=True, gives="one")
_NOT_ALL = Traits(each=True, gives="at_most_one")
_FEWER = Traits(gives="at_most_one")
_FIRST = Traits(gives="at_most_one", ends=True)
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

    def _then(
        self,
        name: str,
        op: Operator,
        traits: Traits = _PLAIN,
        sides: tuple[Sink[Any, Any], ...] = (),
    ) -> Stream[Any]:
        return Stream(Node(name, op, (self._node,), caller(), traits, sides))

    def _step(
        self,
        name: str,
        start: Callable[[AtOnce, StepControl], Step],
        errors: Errors,
        *,
        each: bool = False,
        gives: Gives = "any",
        grows: str = "",
        ends: bool = False,
    ) -> Stream[Any]:
        """An element operator that calls a function of the user's."""
        op: Operator
        if isinstance(errors, Retry):
            raising = partial(start, "raise")
            op = TaskOp(partial(retrying.step_with_retries, raising, errors))
        else:
            op = StepOp(partial(start, errors))
        traits = _one_for_each(errors) if each else Traits(fails=can_fail(errors), gives=gives)
        return self._then(name, op, replace(traits, grows=grows, ends=ends), sides_of(errors))

    # Element operators

    def map(self, f: Callable[[T_co], U], *, errors: Errors = "raise") -> Stream[U]:
        """``f(item)`` for each item. For an async function there is `map_async`."""
        _check_step("map", "f", f, errors, instead="map_async")
        start = partial(element.start_map, f, instead="map_async")
        return self._step(stage_name("map", f), start, errors, each=True)

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
        start = partial(element.start_filter, keep)
        return self._step(stage_name("filter", keep), start, errors, gives="at_most_one")

    def flat_map(self, f: Callable[[T_co], Iterable[U]], *, errors: Errors = "raise") -> Stream[U]:
        """All items of the iterable ``f(item)``, for each item."""
        _check_step("flat_map", "f", f, errors, instead="map_async and flat_map its answers")
        return self._step(stage_name("flat_map", f), partial(element.start_flat_map, f), errors)

    def scan(self, initial: U, f: Callable[[U, T_co], U], *, errors: Errors = "raise") -> Stream[U]:
        """The running result: ``state = f(state, item)`` for each item, given after each.

        ``initial`` is where each run starts; it is not given itself.
        """
        _check_step("scan", "f", f, errors, instead="an async @transform of your own")
        start = partial(element.start_scan, initial, f)
        return self._step(stage_name("scan", f), start, errors, each=True)

    def take(self, count: int) -> Stream[T_co]:
        """The first ``count`` items; then the stages before it are ended, with their cleanup."""
        options.whole_number("take", "count", count, at_least=0)
        return self._then("take", StepOp(partial(element.start_take, count)), _FIRST)

    def take_while(
        self,
        keep: Callable[[T_co], object],
        inclusive: bool = False,
        *,
        errors: Errors = "raise",
    ) -> Stream[T_co]:
        """The items before the first for which ``keep(item)`` is false; then it ends, like `take`.

        With ``inclusive`` that item is the last one.
        """
        _check_step("take_while", "keep", keep, errors, instead="an async @transform of your own")
        start = partial(element.start_take_while, keep, inclusive)
        name = stage_name("take_while", keep)
        return self._step(name, start, errors, gives="at_most_one", ends=True)

    def skip(self, count: int) -> Stream[T_co]:
        """All but the first ``count`` items."""
        options.whole_number("skip", "count", count, at_least=0)
        return self._then("skip", StepOp(partial(element.start_skip, count)), _FEWER)

    def skip_while(
        self, drop: Callable[[T_co], object], *, errors: Errors = "raise"
    ) -> Stream[T_co]:
        """All items from the first on for which ``drop(item)`` is false."""
        _check_step("skip_while", "drop", drop, errors, instead="an async @transform of your own")
        start = partial(element.start_skip_while, drop)
        return self._step(stage_name("skip_while", drop), start, errors, gives="at_most_one")

    def enumerate(self, start: int = 0) -> Stream[tuple[int, T_co]]:
        """``(number, item)`` for each item, counted from ``start``."""
        options.whole_number("enumerate", "start", start)
        op = StepOp(partial(adjacent.start_enumerate, start))
        return self._then("enumerate", op, _ONE_FOR_ONE)

    def pairwise(self) -> Stream[tuple[T_co, T_co]]:
        """``(item before, item)`` for each item but the first."""
        return self._then("pairwise", StepOp(adjacent.start_pairwise), _FEWER)

    def dedupe(
        self, key: Callable[[T_co], object] | None = None, *, errors: Errors = "raise"
    ) -> Stream[T_co]:
        """Leave out an item whose ``key(item)`` equals that of the item just before it.

        Without ``key`` the items themselves are compared. The first is compared with nothing; one
        whose ``==`` raises is an error on that item, and with ``errors="skip"`` as if it had not
        come. For repeats that are not adjacent there is `distinct`.
        """
        _check_key("dedupe", key, errors)
        start = partial(adjacent.start_dedupe, key)
        return self._step(stage_name("dedupe", key), start, errors, gives="at_most_one")

    def distinct(
        self,
        key: Callable[[T_co], object] | None = None,
        max_keys: int | None = 100_000,
        *,
        errors: Errors = "raise",
    ) -> Stream[T_co]:
        """Only the first item of each ``key(item)``, or of equal items.

        Args:
            key: gives something hashable; without it the items must be hashable themselves.
            max_keys: how many keys are remembered. Beyond that the one seen longest ago is
                forgotten, counted as evicted, and its next item passes for new. None remembers
                all: memory then grows with the number of keys.
        """
        _check_key("distinct", key, errors)
        if max_keys is not None:
            options.whole_number("distinct", "max_keys", max_keys, at_least=1)
        start = partial(adjacent.start_distinct, key, max_keys)
        grows = "" if max_keys is not None else "with the number of keys: max_keys bounds it"
        name = stage_name("distinct", key)
        return self._step(name, start, errors, gives="at_most_one", grows=grows)

    def tap(self, f: Callable[[T_co], object], *, errors: Errors = "raise") -> Stream[T_co]:
        """Call ``f(item)`` for its effect; the items go on as they are."""
        _check_step("tap", "f", f, errors, instead="map_async")
        start = partial(element.start_tap, f)
        return self._step(stage_name("tap", f), start, errors, each=True)

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
        key: Callable[[T_co], Hashable] | None = None,
        errors: Errors = "raise",
    ) -> Stream[U]:
        """``await f(item)`` for up to ``concurrency`` items at a time.

        With ``ordered`` the results keep the order of the items, else they come as they are done.

        With a ``key``, the items of one key are dealt with one after the other, in their order:
        their calls never overlap, and their results keep that order even without ``ordered``, while
        other keys run on. ``errors`` is for failures of ``key``, too, and of keys that can't be
        hashed; while a key is asked for again, later items wait.

        At most twice ``concurrency`` items are taken in and not yet passed on, those that wait for
        another of their key among them: a key that fills them all holds up the other keys until
        one of its calls is through. Cancelled, the calls in flight are cancelled and all of these
        items abandoned.
        """
        options.function("map_async", "f", f)
        options.whole_number("map_async", "concurrency", concurrency, at_least=1)
        _check_key("map_async", key, errors)
        work = partial(concurrent.map_async, f, concurrency, ordered, key, errors)
        traits = _one_for_each(errors)
        return self._then(stage_name("map_async", f), TaskOp(work), traits, sides_of(errors))

    def flat_map_async(
        self,
        f: Callable[[T_co], AsyncIterable[U] | Stream[U]],
        concurrency: int,
        *,
        ordered: bool = False,
        errors: Errors = "raise",
    ) -> Stream[U]:
        """All items of the async iterable or the `Stream` ``f(item)``, for each item.

        Up to ``concurrency`` of these inner streams run at a time, each in a task of its own. They
        feel backpressure. Their items come as they are there; with ``ordered``, all of one come
        before any of the next, and what the later ones give meanwhile waits: at most 1,024 items
        in all, or 16 of each inner stream where that is more, of at most twice ``concurrency``.

        An inner stream that fails is what ``errors`` deals with: ``"skip"`` leaves out its rest,
        a retry starts it anew (what it has sent is not taken back), a dead letter holds the item
        that ``f`` was called with. A `StageError` of a stage of its own is raised as it is.
        Cancelled, or ended early, all inner streams are cancelled, with their ``finally``.
        """
        _check_inner("flat_map_async", f, errors)
        options.whole_number("flat_map_async", "concurrency", concurrency, at_least=1)
        streams = InnerStreams(f, errors, _open_inner)
        work = flattening.flat_map_in_order if ordered else flattening.flat_map_as_they_come
        op = TaskOp(partial(work, streams, concurrency), by_item=not ordered)
        traits = Traits(fails=can_fail(errors))
        return self._then(stage_name("flat_map_async", f), op, traits, sides_of(errors))

    def switch_map(
        self, f: Callable[[T_co], AsyncIterable[U] | Stream[U]], *, errors: Errors = "raise"
    ) -> Stream[U]:
        """The items of the async iterable or the `Stream` ``f(item)``, until the next item comes.

        A new item cancels the inner stream of the one before; that one's ``finally`` has run before
        the next begins, and nothing more of it is sent. The last one runs to its end. Items that
        come faster than that get no inner stream but for the newest. Both those, and the ones whose
        inner stream was cut short, count as dropped.

        An inner stream that fails is what ``errors`` deals with, see `flat_map_async`. Cancelled,
        the inner stream is cancelled, with its ``finally``.
        """
        _check_inner("switch_map", f, errors)
        work = partial(switching.switch_map, InnerStreams(f, errors, _open_inner))
        traits = Traits(fails=can_fail(errors))
        return self._then(stage_name("switch_map", f), TaskOp(work), traits, sides_of(errors))

    def map_blocking(
        self,
        f: Callable[[T_co], U],
        workers: int,
        *,
        on: Literal["thread", "process"] = "thread",
        errors: Errors = "raise",
    ) -> Stream[U]:
        """``f(item)`` on up to ``workers`` threads or processes, in order.

        Items travel in groups of about 10 ms of work (25 ms on processes), so that a cheap function
        pays no hand-over per item. On threads at most twice ``workers`` groups are in flight, on
        processes four times as many, each of at most 1,024 items.

        On processes ``f``, its items and its results are pickled, so ``f`` must be importable by
        name (no lambda), and a script must start its run under ``if __name__ == "__main__":``.
        A worker process that dies (killed, out of memory, crashed in C code) has failed on the item
        that it was at, as ``errors`` says; another takes its place. The other items of that group
        are called again where their results were lost with it: at least once, that is.

        Cancelled, or ended early, the calls that run are waited for, further ones are not made, and
        the processes have ended when it returns. They end after their call, too, when the process
        that they work for is killed.
        """
        options.function("map_blocking", "f", f, instead="map_async")
        options.whole_number("map_blocking", "workers", workers, at_least=1)
        options.one_of("map_blocking", "on", on, ("thread", "process"))
        check_errors("map_blocking", errors)
        if on == "process":
            options.importable("map_blocking", "f", f)
        work = map_on_processes if on == "process" else map_on_threads
        op = TaskOp(partial(work, f, workers, errors))
        traits = _one_for_each(errors)
        return self._then(stage_name("map_blocking", f), op, traits, sides_of(errors))

    def batch(self, size: int, within: float | None = None) -> Stream[list[T_co]]:
        """Lists of ``size`` items; the last may be shorter.

        With ``within``, a list goes out at the latest that many seconds after its first item.
        """
        options.whole_number("batch", "size", size, at_least=1)
        if within is None:
            traits = replace(_FEWER, takes=size) if size > 1 else _FEWER
            return self._then("batch", StepOp(partial(element.start_batch, size)), traits)
        options.seconds("batch", "within", within)
        return self._then("batch", TaskOp(partial(batching.batch_within, size, within)), _FEWER)

    def key_by(
        self,
        f: Callable[[T_co], K],
        max_keys: int | None = 100_000,
        idle: float | None = None,
        *,
        errors: Errors = "raise",
    ) -> KeyedStream[K, T_co]:
        """The items by ``f(item)``: operators on them have a state for each key.

        Args:
            f: gives the key, something hashable.
            max_keys: how many keys may have state in each of the operators. Beyond that the key
                whose last item came longest ago is *evicted*: its state is let go of, and counted.
                None for no bound: memory then grows with the number of keys.
            idle: seconds by Trio's clock after which a key without items is evicted. Only the
                time counts in which the operator waited for items: none in which it dealt with
                some or was held up by the stages behind it. An item has come when the operator
                takes it, so a key whose items are held up by the stages before is idle.
            errors: what becomes of an item that ``f``, or a function of the operators, failed on;
                they may have a choice of their own.

        `KeyedStream` says what eviction does to each operator.
        """
        return KeyedStream(self, f, max_keys, idle, errors)

    # Time, by Trio's clock. An item comes when the operator takes it: at once, unless the stages
    # behind keep it waiting.

    def debounce(self, seconds: float) -> Stream[T_co]:
        """An item once no other has come for ``seconds``; the last one when the stream ends.

        One item is held; those that a newer one replaces are dropped, counted.
        """
        options.seconds("debounce", "seconds", seconds)
        op = TaskOp(partial(thinning.debounce, seconds))
        return self._then("debounce", op, _NOT_ALL)

    def throttle(self, seconds: float, keep: Literal["first", "last"] = "first") -> Stream[T_co]:
        """The first item at once, then at most one every ``seconds``.

        Args:
            seconds: the least time between two items.
            keep: ``"first"`` drops all items until that time is over; the next to come goes on.
                ``"last"`` holds the newest and gives it on when the time is over, even if the
                stream has ended meanwhile: the last item of all always goes on.

        Dropped items are counted.
        """
        options.seconds("throttle", "seconds", seconds)
        options.one_of("throttle", "keep", keep, ("first", "last"))
        op: Operator
        if keep == "first":
            op = StepOp(partial(thinning.start_throttle, seconds))
        else:
            op = TaskOp(partial(thinning.throttle_to_last, seconds))
        return self._then("throttle", op, _NOT_ALL)

    def sample(self, seconds: float) -> Stream[T_co]:
        """The newest item of each ``seconds`` since the start, when they are over.

        Nothing is given for an interval in which none came; the last item is given when the stream
        ends. One item is held; the others are dropped, counted.
        """
        options.seconds("sample", "seconds", seconds)
        op = TaskOp(partial(thinning.sample, seconds))
        return self._then("sample", op, _NOT_ALL)

    def rate_limit(self, n: int, per: float = 1.0) -> Stream[T_co]:
        """All items, at most ``n`` in any ``per`` seconds; the others wait (backpressure).

        ``n`` items may go at once, and as many again ``per`` seconds later: whatever moment the
        ``per`` seconds start at, no more than ``n`` items go on in them. To space items evenly,
        use ``rate_limit(1, per / n)``. It remembers when the last ``n`` items went.
        """
        options.whole_number("rate_limit", "n", n, at_least=1)
        options.seconds("rate_limit", "per", per)
        op = TaskOp(partial(spacing.rate_limit, n, per))
        return self._then("rate_limit", op, _ONE_FOR_ONE)

    def delay(self, seconds: float, *, max_held: int = 10_000) -> Stream[T_co]:
        """Each item ``seconds`` after it came, so that the distances between items stay.

        Args:
            seconds: the time that each item is held.
            max_held: while so many items are held (a chunk more at most), no more are taken; the
                stages before it wait, and the distances shrink to what that lets through.
        """
        options.seconds("delay", "seconds", seconds)
        options.whole_number("delay", "max_held", max_held, at_least=1)
        op = TaskOp(partial(spacing.delay, seconds, max_held))
        return self._then("delay", op, _ONE_FOR_ONE)

    def timeout(self, seconds: float) -> Stream[T_co]:
        """The items as they come; where none comes for ``seconds`` the stage fails.

        Raises `StageError` from ``trio.TooSlowError``. The first item has as long from the start
        of the run. Time in which the stages behind keep it waiting doesn't count.
        """
        options.seconds("timeout", "seconds", seconds)
        op = TaskOp(partial(silence.timeout, seconds))
        return self._then("timeout", op, _ONE_FOR_ONE)

    # Producers that fail

    def restart(
        self,
        backoff: Backoff | None = None,
        max_restarts: int | None = 10,
        within: float = 300.0,
    ) -> Stream[T_co]:
        """Start the producer anew when it fails; to be put directly behind the producer.

        Items that it sent before it failed are not taken back, so one that starts at its beginning
        gives them again. It is for producers that open something anew each time: an iterator or a
        memory channel that is handed over ready-made can be read only once. Each restart counts
        as `retried`. A failure of the stages behind restarts nothing, nor does a line that can't
        be decoded, which is for the producer's own ``errors``.

        Readers of whole files (`read_lines` and so on) are refused, as all that they had given
        would come again: run the whole pipeline again, whose own files appear only when it is
        done, or `follow` a file that isn't there yet or still grows. `stdin_lines` is refused, as
        it can't go back.

        Args:
            backoff: the waits before a restart, by Trio's clock, which grow with the number of
                restarts in the last ``within`` seconds; from half a second up to 30 by default.
            max_restarts: with so many in the last ``within`` seconds a failure is raised, as
                `StageError` from `TooManyRestarts` from the failure itself. None: any number.
            within: the seconds that count.

        Cancelled or stopped while it waits, it ends at once.
        """
        if backoff is not None and not isinstance(backoff, Backoff):
            raise options.refuse("restart", f"backoff must be a Backoff, got {backoff!r}")
        if max_restarts is not None:
            options.whole_number("restart", "max_restarts", max_restarts, at_least=1)
        options.seconds("restart", "within", within)
        node = self._node
        source = node.inputs[0] if node.traits.of_source else node
        if not isinstance(source.op, PullSource | PushSource):
            raise options.refuse(
                "restart", f"goes directly behind a producer, and {node.name} is none"
            )
        if source.traits.once:
            raise options.refuse("restart", f"{source.name} {source.traits.once}")
        policy = restarting.RestartPolicy(backoff or Backoff(), max_restarts, within)
        anew = replace(source, op=restarting.restarting(source.op, policy))
        return Stream(anew if node is source else replace(node, inputs=(anew,)))

    # Flow

    def buffer(
        self,
        n: int,
        overflow: Overflow = "block",
        *,
        key: Callable[[T_co], object] | None = None,
        errors: Errors = "raise",
    ) -> Stream[T_co]:
        """Room for ``n`` items between two tasks, so that both sides run concurrently.

        Args:
            n: the most items that wait in it.
            overflow: what happens when it is full. ``"block"`` waits (backpressure),
                ``"drop_oldest"`` and ``"drop_newest"`` throw away, counted, ``"conflate"`` keeps
                the newest item per ``key(item)`` and waits only for more than ``n`` keys,
                ``"fail"`` raises `StageError` from `BufferOverflow`.
            key: gives something hashable; for ``"conflate"``. Without it, that keeps the newest
                item of all.
            errors: what becomes of an item that ``key`` failed on, or whose key can't be hashed.
                While a key is asked for again, up to 1,024 later items wait.

        A ``key`` is a stage of its own in reports, ``buffer(key)``, in front of the buffer.
        """
        options.whole_number("buffer", "n", n, at_least=1)
        options.one_of("buffer", "overflow", overflow, _POLICIES)
        if key is not None and overflow != "conflate":
            raise options.refuse("buffer", 'key goes with overflow="conflate" only')
        _check_key("buffer", key, errors)
        traits = _ONE_FOR_ONE if overflow in ("block", "fail") else _NOT_ALL
        if key is None:
            if errors != "raise":
                raise options.refuse("buffer", "errors is for failures of key, and there is none")
            return self._then("buffer", Boundary(Inlet(n, overflow)), traits)
        start = partial(conflating.start_pair_with_key, key)
        pairs = self._step(stage_name("buffer", key), start, errors, each=True)
        op = Boundary(Inlet(n, overflow, keyed=True))
        return Stream(Node("buffer", op, (_node(pairs),), caller(), traits))

    # Several streams

    def merge(self, *others: Stream[U]) -> Stream[T_co | U]:
        """The items of this stream and of the others as they come; ends with the last of them."""
        return join_streams("merge", joining.merge, (self, *others))

    def concat(self, *others: Stream[U]) -> Stream[T_co | U]:
        """All items of this stream, then those of the next, ...: see `penstock.concat`."""
        return join_streams("concat", joining.concat, (self, *others))

    def interleave(self, *others: Stream[U]) -> Stream[T_co | U]:
        """One item of each stream in turn: see `penstock.interleave`."""
        return join_streams("interleave", joining.interleave, (self, *others))

    def merge_sorted(
        self,
        *others: Stream[U],
        key: Callable[[T_co | U], Any] | None = None,
        errors: Errors = "raise",
    ) -> Stream[T_co | U]:
        """Sorted streams as one sorted stream: see `penstock.merge_sorted`."""
        make = partial(joining.merge_sorted, key, errors)
        return join_streams("merge_sorted", make, (self, *others))

    @overload
    def zip(self, b: Stream[B], /, *, strict: bool = False) -> Stream[tuple[T_co, B]]: ...

    @overload
    def zip(
        self, b: Stream[B], c: Stream[C], /, *, strict: bool = False
    ) -> Stream[tuple[T_co, B, C]]: ...

    @overload
    def zip(
        self, b: Stream[B], c: Stream[C], d: Stream[D], /, *, strict: bool = False
    ) -> Stream[tuple[T_co, B, C, D]]: ...

    @overload
    def zip(self, *others: Stream[Any], strict: bool = False) -> Stream[tuple[Any, ...]]: ...

    def zip(self, *others: Stream[Any], strict: bool = False) -> Stream[Any]:
        """Tuples of one item of each stream; ends with the shortest: see `penstock.zip`."""
        return join_streams("zip", partial(joining.zip_nodes, strict), (self, *others))

    @overload
    def combine_latest(self, b: Stream[B], /) -> Stream[tuple[T_co, B]]: ...

    @overload
    def combine_latest(self, b: Stream[B], c: Stream[C], /) -> Stream[tuple[T_co, B, C]]: ...

    @overload
    def combine_latest(
        self, b: Stream[B], c: Stream[C], d: Stream[D], /
    ) -> Stream[tuple[T_co, B, C, D]]: ...

    @overload
    def combine_latest(self, *others: Stream[Any]) -> Stream[tuple[Any, ...]]: ...

    def combine_latest(self, *others: Stream[Any]) -> Stream[Any]:
        """A tuple of the newest item of each stream: see `penstock.combine_latest`."""
        return join_streams("combine_latest", joining.combine_latest, (self, *others))

    # Branches. Each is a stream to be used once; all must be ended in one pipeline, by `gather` or
    # by joining them again.

    @overload
    def broadcast(
        self, n: Literal[2], buffer: int = DEFAULT_CAPACITY
    ) -> tuple[Stream[T_co], Stream[T_co]]: ...

    @overload
    def broadcast(
        self, n: Literal[3], buffer: int = DEFAULT_CAPACITY
    ) -> tuple[Stream[T_co], Stream[T_co], Stream[T_co]]: ...

    @overload
    def broadcast(
        self, n: Literal[4], buffer: int = DEFAULT_CAPACITY
    ) -> tuple[Stream[T_co], Stream[T_co], Stream[T_co], Stream[T_co]]: ...

    @overload
    def broadcast(self, n: int, buffer: int = DEFAULT_CAPACITY) -> tuple[Stream[T_co], ...]: ...

    def broadcast(self, n: int, buffer: int = DEFAULT_CAPACITY) -> tuple[Stream[T_co], ...]:
        """``n`` streams that each give all items; the source runs once.

        Args:
            n: how many, at least 1.
            buffer: the items that may wait in front of each. The slowest branch then holds the
                source, and the others, up; one with a ``.buffer(n, "drop_oldest")`` directly behind
                it doesn't.

        The branches share the items themselves: don't change them in place. A branch that ends
        early (``take``, `first`) drops out, the others go on; the source ends with the last.
        Branches that meet again in a `zip` keep in step; where a stage on the way changes the
        number of items, `PipelineError` tells where a ``.buffer(n)`` must say how many may wait.
        """
        options.whole_number("broadcast", "n", n, at_least=1)
        options.whole_number("broadcast", "buffer", buffer, at_least=1)
        names = [f"broadcast[{number}]" for number in range(n)]
        return _split(self, "broadcast", splitting.copied(n), names, Inlet(buffer))

    @overload
    def partition(
        self, matches: Callable[[T_co], TypeGuard[U]], *, errors: Errors = "raise"
    ) -> Partition[U, T_co]: ...

    @overload
    def partition(
        self, matches: Callable[[T_co], object], *, errors: Errors = "raise"
    ) -> Partition[T_co, T_co]: ...

    def partition(
        self, matches: Callable[[T_co], object], *, errors: Errors = "raise"
    ) -> Partition[Any, T_co]:
        """Two streams: ``matching``, the items for which ``matches(item)`` is true, and ``others``.

        Up to 1,024 items wait in front of each; then the slower holds the source, and the other,
        up. What comes for a branch that has ended early is abandoned, counted.
        """
        _check_step("partition", "matches", matches, errors, instead="map_async before it")
        start = partial(splitting.start_partition, matches)
        labelled = self._step(stage_name("partition", matches), start, errors, each=True)
        names = ["partition.matching", "partition.others"]
        return Partition(*_split(labelled, "partition", splitting.dealt(2), names))

    def route(
        self,
        key: Callable[[T_co], object],
        routes: Mapping[Any, Callable[[Stream[T_co]], Stream[U]]],
        otherwise: Literal["raise", "drop"] | Callable[[Stream[T_co]], Stream[U]] = "raise",
        *,
        errors: Errors = "raise",
    ) -> Stream[U]:
        """Each item through the function in ``routes`` that stands for its ``key(item)``; merged.

        Args:
            key: gives the value that is looked up; it must be hashable.
            routes: from a value to a function that gives the stream of what becomes of its items,
                as for `via`. It is called once, now.
            otherwise: for any other value. ``"raise"`` is an error of this stage (so ``errors`` has
                its say), ``"drop"`` throws the item away, counted.
            errors: what to do where ``key`` fails.

        Items of one route keep their order. Up to 1,024 items wait in front of each; then the
        slowest holds the others up.
        """
        _check_step("route", "key", key, errors, instead="map_async before it")
        to = routes_of(routes, otherwise)
        start = partial(splitting.start_route, key, to.numbers, to.otherwise)
        labelled = self._step(stage_name("route", key), start, errors, each=True)
        each = _split(labelled, "route", splitting.dealt(len(to.names)), to.names)
        results = [branch.via(f) for branch, f in zip(each, to.functions, strict=True)]
        return join_streams("route", joining.merge, tuple(results))

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
        inputs = (self._node,)
        return Pipeline(Node(given.name, given.op, inputs, caller(), given.traits, given.sides))

    def open(self) -> AbstractAsyncContextManager[Receiver[T_co]]:
        """Run the stream and read it: ``async with s.open() as items: async for x in items``.

        Leaving the block cancels what still runs. Raises `StageError` on leaving where a stage
        failed.
        """
        return _open_stream(self._node)

    def graph(self) -> Graph:
        """The stages and the channels between them, to be drawn."""
        return draw(self._node)


def join_streams(
    operator: str, make: Callable[[tuple[Node, ...]], Node], streams: tuple[Stream[Any], ...]
) -> Stream[Any]:
    """The stage behind `Stream.merge` and `merge`, and so on. ``make`` may give the only input."""
    nodes: list[Node] = []
    for stream in streams:
        if not isinstance(stream, Stream):  # pyright: ignore[reportUnnecessaryIsInstance]
            hint = options.uncalled(stream)
            raise options.refuse(operator, f"takes Streams, got {stream!r}{hint}")
        nodes.append(_node(stream))
    if not nodes:
        raise options.refuse(operator, "takes at least one Stream")
    node = make(tuple(nodes))
    return streams[0] if node is nodes[0] else Stream(node)


def _split(
    stream: Stream[Any], name: str, op: SplitOp, names: list[str], inlet: Inlet = _ORDINARY
) -> tuple[Stream[Any], ...]:
    return tuple(Stream(node) for node in branches(name, op, inlet, names, _node(stream)))


def _node(stream: Stream[Any]) -> Node:
    return stream._node  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - of this module


def _check_key(operator: str, key: object, errors: Errors) -> None:
    if key is not None:
        options.function(operator, "key", key, instead="map_async to look the keys up before it")
    check_errors(operator, errors)


def _check_inner(operator: str, f: object, errors: Errors) -> None:
    if inspect.iscoroutinefunction(f):
        raise options.refuse(
            operator,
            f"f must give an async iterable or a Stream, but {stage_name('f', f)} is an async"
            " function without a yield; use map_async",
        )
    options.function(operator, "f", f)
    check_errors(operator, errors)


def _one_for_each(errors: Errors) -> Traits:
    """Of an operator that gives one item for each, unless ``errors`` lets it leave one out."""
    can = can_fail(errors)
    return Traits(each=True, fails=can, gives="one" if can else "at_most_one")


def _check_step(operator: str, option: str, f: object, errors: Errors, *, instead: str) -> None:
    options.function(operator, option, f, instead=instead)
    check_errors(operator, errors)


@asynccontextmanager
async def _open_stream(node: Node, *, inner: bool = False) -> AsyncGenerator[Receiver[Any], None]:
    """Lend the last channel's receiver to the body, which is the sink.

    Left at the end of the stream, the run comes to its end, with the sinks beside the stream; left
    before, it is cancelled.
    """
    handed_over = trio.Event()
    read_to_its_end = trio.Event()
    lent: list[ChannelReceiver] = []

    async def lend(receive: Receiver[Any], tally: Tally) -> None:
        lent.append(cast("ChannelReceiver", receive))
        handed_over.set()
        await read_to_its_end.wait()

    end = Node("open", TaskSink(lend), (node,), node.where)
    async with open_run(end, leave_running=False, inner=inner) as run:
        await handed_over.wait()
        yield lent[0]
        if lent[0].is_at_end:
            read_to_its_end.set()
            await run.result()


def _open_inner(given: object) -> AbstractAsyncContextManager[Receiver[Any]] | None:
    """Run a stream that a function of the user's gave, as a part of the run that calls it."""
    if not isinstance(given, Stream):
        return None
    return _open_stream(given._node, inner=True)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - of this module
