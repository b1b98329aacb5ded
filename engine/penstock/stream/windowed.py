"""`WindowedStream`: what is made of the items of each key in each window."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from .. import _options as options
from .._failing import can_fail, sides_of
from .._spec import Sink, TaskOp, Traits
from ..transforms.key_bounds import KeyBounds
from ..transforms.windows import aggregates, task
from ..transforms.windows.aggregates import Aggregate
from ..transforms.windows.task import Windowing
from ..transforms.windows.window import ByCount, Panes, Session, Window

if TYPE_CHECKING:
    from .stream import Stream

K_co = TypeVar("K_co", bound=Hashable, covariant=True)
T_co = TypeVar("T_co", covariant=True)
K = TypeVar("K", bound=Hashable)
A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)
V = TypeVar("V")


class Addable(Protocol):
    """Something that has a ``+``."""

    def __add__(self, other: Any, /) -> Any:
        """The sum."""
        ...


N = TypeVar("N", bound=Addable)


class Zero(Protocol[A_co]):
    """A function that makes an empty accumulator.

    Not a ``Callable``: mypy takes the type of the accumulator from this before it looks at lambdas.
    """

    def __call__(self) -> A_co:
        """A new one."""
        ...


class WindowedStream(Generic[K_co, T_co]):
    """The items of each key in windows, from `KeyedStream.window`, which says when they end.

    Each method gives a stream of `Window`, one for each key and window that has items.
    """

    __slots__ = ("_name", "_stream", "_windowing")

    def __init__(self, stream: Stream[T_co], name: str, windowing: Windowing) -> None:
        self._stream = stream
        self._name = f"{name}.{windowing.kind}"
        self._windowing = windowing

    def __repr__(self) -> str:
        return f"<WindowedStream {self._name}>"

    @overload
    def aggregate(
        self, zero: Zero[A], add: Callable[[A, T_co], A], merge: Callable[[A, A], A]
    ) -> Stream[Window[K_co, A]]: ...

    @overload
    def aggregate(
        self,
        zero: Zero[A],
        add: Callable[[A, T_co], A],
        merge: Callable[[A, A], A],
        finish: Callable[[A], V],
    ) -> Stream[Window[K_co, V]]: ...

    def aggregate(
        self,
        zero: Callable[[], Any],
        add: Callable[[Any, T_co], Any],
        merge: Callable[[Any, Any], Any],
        finish: Callable[[Any], Any] | None = None,
    ) -> Stream[Window[K_co, Any]]:
        """An accumulator of your own, which the items are added to as they come.

        Args:
            zero: makes an empty accumulator: a function, such as ``int`` or ``list[str]``.
            add: ``add(accumulator, item)`` gives the accumulator with the item in it; it may be
                the same one, changed.
            merge: ``merge(accumulator, other)`` gives both as one. It may change the first, but
                not the other, which is used further. It merges sessions that an item has brought
                together, and the slices of sliding windows; what comes first is that of earlier
                times.
            finish: makes the window's value of its accumulator; without it that is the value.

        A function that raises must leave the accumulators as they were.
        """
        options.function("aggregate", "zero", zero, instead="an ordinary one")
        options.function("aggregate", "add", add, instead="map_async before key_by")
        options.function("aggregate", "merge", merge, instead="an ordinary one")
        if finish is not None:
            options.function("aggregate", "finish", finish, instead="map_async behind it")
        return self._of(aggregates.custom(zero, add, merge, finish))

    def count(self) -> Stream[Window[K_co, int]]:
        """The number of items."""
        return self._of(aggregates.counting())

    @overload
    def sum(self: WindowedStream[K, N], f: None = None) -> Stream[Window[K, N]]: ...

    @overload
    def sum(self, f: Callable[[T_co], N]) -> Stream[Window[K_co, N]]: ...

    def sum(self, f: Callable[[Any], Any] | None = None) -> Stream[Window[Any, Any]]:
        """The sum of the items, or of ``f(item)``: anything that has a ``+``."""
        if f is not None:
            options.function("sum", "f", f, instead="map_async before key_by")
        return self._of(aggregates.summing(f))

    def collect(self) -> Stream[Window[K_co, list[T_co]]]:
        """The items as a list, in the order in which they came.

        Of sliding windows, slice by slice; of sessions that an item has brought together, the
        earlier one's first. All items of the open windows are in memory.
        """
        return self._of(aggregates.collecting())

    def _of(self, aggregate: Aggregate) -> Stream[Any]:
        windowing = self._windowing
        errors = windowing.errors
        late = () if windowing.late is None else (windowing.late,)
        grows = growth(windowing.bounds) if isinstance(windowing.kind, ByCount) else ""
        return self._stream._then(  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - of this package
            f"{self._name}.{aggregate.name}",
            TaskOp(partial(task.window, windowing, aggregate)),
            Traits(grows=grows, fails=can_fail(errors)),
            (*late, *sides_of(errors)),
        )


def growth(bounds: KeyBounds) -> str:
    """What makes the memory grow of a stage that has state for every key."""
    return "" if bounds.are_set else "with the number of keys: max_keys or idle bounds it"


def check_window(
    kind: object, time: object, lateness: object, late: object, silence: object
) -> None:
    """The options of ``window``, but for ``errors``."""
    if not isinstance(kind, Panes | Session | ByCount):
        raise options.refuse(
            "window",
            f"kind must be tumbling(seconds), sliding(size, step), session(gap) or by_count(n),"
            f" got {kind!r}",
        )
    if time is not None:
        options.function("window", "time", time, instead="map_async before key_by")
    options.seconds("window", "lateness", lateness, above_zero=False)
    if silence is not None:
        options.seconds("window", "silence", silence)
    if late is not None and not isinstance(late, Sink):
        raise options.refuse(
            "window", f"late must be a sink such as write_jsonl(path), got {late!r}"
        )
    if isinstance(kind, ByCount) and (lateness or late is not None):
        raise options.refuse("window", "lateness and late go with windows by time: no item is late")
    if time is None and (lateness or late is not None):
        raise options.refuse("window", "lateness and late go with time: without it no item is late")
