"""`KeyedStream`: what is done with the items of each key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .. import _options as options
from .._failing import Errors, can_fail, check_errors, sides_of
from .._spec import Gives, Sink, Step, StepControl, TaskOp, Traits, stage_name
from ..transforms import keyed
from ..transforms.element import AtOnce
from ..transforms.key_bounds import KeyBounds
from ..transforms.windows.task import Windowing
from ..transforms.windows.window import WindowKind
from .windowed import WindowedStream, check_window, growth

if TYPE_CHECKING:
    from .stream import Stream

K_co = TypeVar("K_co", bound=Hashable, covariant=True)
T_co = TypeVar("T_co", covariant=True)
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
U = TypeVar("U")


class KeyedStream(Generic[K_co, T_co]):
    """The items of a stream by key, from `Stream.key_by`: each operator has a state for each key.

    The items themselves stay one stream, in their order. ``errors=`` of an operator is that of
    `Stream.key_by` where it isn't given; it is for the key's function, too.
    """

    __slots__ = ("_bounds", "_errors", "_key", "_stream")

    def __init__(
        self,
        stream: Stream[T_co],
        key: Callable[[T_co], K_co],
        max_keys: int | None,
        idle: float | None,
        errors: Errors,
    ) -> None:
        options.function("key_by", "f", key, instead="map_async, and key_by what it gives")
        if max_keys is not None:
            options.whole_number("key_by", "max_keys", max_keys, at_least=1)
        if idle is not None:
            options.seconds("key_by", "idle", idle)
        check_errors("key_by", errors)
        self._stream = stream
        self._key = key
        self._bounds = KeyBounds(max_keys, idle)
        self._errors: Errors = errors

    def __repr__(self) -> str:
        return f"<KeyedStream {self._name}>"

    def scan(
        self, initial: U, f: Callable[[U, T_co], U], *, errors: Errors | None = None
    ) -> Stream[tuple[K_co, U]]:
        """``(key, state)`` after each item: ``state = f(state, item)``, from ``initial`` per key.

        ``initial`` is shared by all keys: give a value that ``f`` doesn't change in place. An
        evicted key starts anew.
        """
        options.function("scan", "f", f, instead="an async @transform of your own")
        start = partial(keyed.start_scan, self._key, self._bounds, initial, f)
        return self._step("scan", f, start, errors, each=True)

    def reduce(
        self: KeyedStream[K, T], f: Callable[[T, T], T], *, errors: Errors | None = None
    ) -> Stream[tuple[K, T]]:
        """``(key, result)`` after each item: the key's first item, then ``f(result, item)``.

        An evicted key starts anew.
        """
        options.function("reduce", "f", f, instead="an async @transform of your own")
        start = partial(keyed.start_reduce, self._key, self._bounds, f)
        return self._step("reduce", f, start, errors, each=True)

    def dedupe(
        self, key: Callable[[T_co], object] | None = None, *, errors: Errors | None = None
    ) -> Stream[T_co]:
        """Leave out an item that equals the one before of its key, or whose ``key(item)`` does.

        The first item of a key is compared with nothing, and the next one of an evicted key passes
        for new. One whose ``==`` raises is an error on that item: with ``errors="skip"`` it is as
        if it had not come.
        """
        if key is not None:
            options.function("dedupe", "key", key, instead="map_async")
        start = partial(keyed.start_dedupe, self._key, self._bounds, key)
        return self._step("dedupe", key, start, errors, gives="at_most_one")

    def debounce(self, seconds: float, *, errors: Errors | None = None) -> Stream[T_co]:
        """An item once no other of its key has come for ``seconds``; the last of each at the end.

        One item is held for each key; those that a newer one replaces are dropped, counted. Where
        more than ``max_keys`` would be held, the one that has waited longest goes on early, its
        key counted as evicted. ``idle`` has no part in it: a key is forgotten with its item.
        """
        options.seconds("debounce", "seconds", seconds)
        errors = self._chosen("debounce", errors)
        work = partial(keyed.debounce, self._key, self._bounds.max_keys, seconds, errors)
        traits = Traits(each=True, fails=can_fail(errors), gives="at_most_one")
        return self._stream._then(  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - of this package
            f"{self._name}.debounce", TaskOp(work), traits, sides_of(errors)
        )

    def map_async(
        self,
        f: Callable[[T_co], Awaitable[U]],
        concurrency: int,
        *,
        ordered: bool = True,
        errors: Errors | None = None,
    ) -> Stream[U]:
        """``await f(item)`` for up to ``concurrency`` keys at a time: `Stream.map_async` by key.

        The items of one key are dealt with one after the other, in their order. ``max_keys`` and
        ``idle`` have no part in it: only keys whose items are in flight are known.
        """
        errors = self._chosen("map_async", errors)
        return self._stream.map_async(f, concurrency, ordered=ordered, key=self._key, errors=errors)

    def window(
        self,
        kind: WindowKind,
        time: Callable[[T_co], float | datetime] | None = None,
        lateness: float = 0.0,
        late: Sink[T_co, Any] | None = None,
        silence: float | None = 1.0,
        errors: Errors | None = None,
    ) -> WindowedStream[K_co, T_co]:
        """The items of each key in windows: `tumbling`, `sliding`, `session` or `by_count`.

        What is made of the items of a window says `WindowedStream`; each window gives one `Window`.

        **Without** ``time``, an item's time is that at which it comes, by Trio's clock, and windows
        end by that clock.

        **With** ``time``, the *watermark* says which windows have ended: it is the largest time of
        any item of any key so far, less ``lateness``. A window ends, and goes out, when the
        watermark reaches its end: in the order of their ends, and those with the same end in the
        order in which their keys came (of a sliding window, in its slices one after the other).
        So items may come out of order by up to ``lateness`` seconds and are still counted in. One
        item with a time far ahead takes the watermark there, and makes others late. At the end of
        the stream all windows end.

        An item is *late* when all its windows have ended; for `session`, when it is behind the
        watermark and no open session of its key covers its time. A sliding window that has ended
        goes without an item that others still take in.

        A source that falls silent still ends its windows: when no item has come for ``silence``
        seconds by Trio's clock, while the stage waited for one, the watermark moves on from where
        it stood, a second a second. Items that come afterwards are late if it has passed the ends
        of their windows meanwhile. The time in which the stage deals with what it took, or is held
        up by those behind it, is no silence; what stages before it take is.

        State: one accumulator for each key in each open window (of `sliding`, each open slice). A
        key that is evicted, by ``max_keys`` or ``idle`` of `Stream.key_by`, has its open windows
        closed: they go out early. If it comes again, the rest of the window is a `Window` of its
        own, so that nothing is lost.

        Args:
            kind: says what a window is.
            time: gives an item's time: finite seconds, or a datetime, of which the timestamp is
                taken (of a naive one, that of local time). What it gives else is an error, see
                ``errors``; so is a time from which on floats can't tell such windows apart, 2**51
                times their width (nanoseconds, say). For `by_count` it only says what a window's
                ``start`` and ``end`` are.
            lateness: seconds by which items may be out of order.
            late: a sink for late items; without one they are dropped, counted.
            silence: seconds; None to let only items, and the end of the stream, end windows.
            errors: what becomes of an item that the key's function, ``time``, or one of the
                aggregate's failed on. Where it was ``merge`` or ``finish`` at the end of a window,
                it is the window that is left out, as a `Window` of what accumulators there are.

        Cancelled, the items of open windows are abandoned.
        """
        check_window(kind, time, lateness, late, silence)
        errors = self._chosen("window", errors)
        windowing = Windowing(self._key, self._bounds, kind, time, lateness, late, silence, errors)
        return WindowedStream(self._stream, self._name, windowing)

    # Stages

    @property
    def _name(self) -> str:
        return stage_name("key_by", self._key)

    def _chosen(self, operator: str, errors: Errors | None) -> Errors:
        if errors is None:
            return self._errors
        check_errors(operator, errors)
        return errors

    def _step(
        self,
        operator: str,
        f: object,
        start: Callable[[AtOnce, StepControl], Step],
        errors: Errors | None,
        *,
        each: bool = False,
        gives: Gives = "any",
    ) -> Stream[Any]:
        return self._stream._step(  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - of this package
            f"{self._name}.{stage_name(operator, f)}",
            start,
            self._chosen(operator, errors),
            each=each,
            gives=gives,
            grows=growth(self._bounds),
        )
