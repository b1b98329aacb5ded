"""Stages of one's own: the decorators ``@producer``, ``@transform`` and ``@sink``."""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from functools import partial, wraps
from itertools import islice
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from .. import _options as options
from .._forwarding import forward_async_iterable
from .._spec import (
    Chunk,
    Node,
    PullSource,
    PushSource,
    Receiver,
    Sender,
    Sink,
    TaskOp,
    TaskSink,
    Traits,
    caller,
    function_name,
)
from ..stream import Stream

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R")


@overload
def producer(f: Callable[P, AsyncIterator[T]], /) -> Callable[P, Stream[T]]: ...


@overload
def producer(f: Callable[P, Iterator[T]], /) -> Callable[P, Stream[T]]: ...


@overload
def producer(
    f: Callable[Concatenate[Sender[T], P], Awaitable[None]], /
) -> Callable[P, Stream[T]]: ...


@overload
def producer(
    *, chunked: bool
) -> Callable[[Callable[Concatenate[Sender[T], P], Awaitable[None]]], Callable[P, Stream[T]]]: ...


def producer(f: Callable[..., Any] | None = None, /, *, chunked: bool = False) -> Any:
    """Make a producer of a function; calling it with the function's arguments gives a `Stream`.

    The function may be an async generator function (``async def … yield``), which runs in a task
    that does nothing else and may hold nurseries and cancel scopes; a generator function; or an
    ``async def f(send, …)`` that calls ``await send(item)`` or ``await send.chunk(items)``. The
    function is called anew for each run. Cancelled, its ``finally`` blocks run.

    Args:
        chunked: for an ``async def f(send, …)`` that only ever sends chunks: the operators behind
            it are fused into its task, and their errors come out of ``send.chunk``.
    """
    if f is None:
        return partial(_producer, chunked=chunked)
    return _producer(f, chunked=chunked)


def _producer(f: Callable[..., Any], *, chunked: bool) -> Callable[..., Stream[Any]]:
    options.function("producer", "f", f)
    name = function_name(f)
    pulls = inspect.isgeneratorfunction(f)
    yields = inspect.isasyncgenfunction(f)
    if not pulls and not yields and not options.is_async(f):
        raise options.refuse(
            "producer", f"{name} must be a generator, an async generator, or an async function"
        )

    @wraps(f)
    def stream(*args: Any, **kwargs: Any) -> Stream[Any]:
        call = partial(f, *args, **kwargs)
        if pulls:
            return Stream(Node(name, PullSource(partial(_open_generator, call)), where=caller()))
        work = partial(_forward_call, call) if yields else partial(_put_first, f, args, kwargs)
        return Stream(Node(name, PushSource(work, by_item=not chunked), where=caller()))

    if not pulls and not yields:  # `send` is not the caller's to give
        stream.__signature__ = _without_first(inspect.signature(f))  # type: ignore[attr-defined]
    return stream


def _without_first(signature: inspect.Signature) -> inspect.Signature:
    first, *others = signature.parameters.values()
    own = [first] if first.kind is first.VAR_POSITIONAL else []
    return signature.replace(parameters=[*own, *others])


class IterablePuller:
    """An iterator read by the chunk; a generator is closed at the end."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self._failure: Exception | None = None

    def pull(self, at_most: int) -> Chunk:
        """Give the next items; those before one that raises go out first."""
        if self._failure is not None:
            raise self._failure
        items: Chunk = []
        try:
            items.extend(islice(self._items, at_most))  # keeps what came before a failure
        except Exception as error:
            if not items:
                raise
            self._failure = error
        return items

    def close(self) -> None:
        """Run a generator's ``finally``."""
        close = getattr(self._items, "close", None)
        if callable(close):
            close()


def _open_generator(call: Callable[[], Iterator[Any]]) -> IterablePuller:
    return IterablePuller(call())


async def _forward_call(call: Callable[[], AsyncIterable[Any]], send: Sender[Any]) -> None:
    await forward_async_iterable(call(), send)


async def _put_first(
    f: Callable[..., Awaitable[R]], args: tuple[Any, ...], kwargs: dict[str, Any], end: object
) -> R:
    """Call ``f`` with its end of the channel before the arguments that the user gave."""
    return await f(end, *args, **kwargs)


@overload
def transform(
    f: Callable[[Receiver[T], Sender[U]], Awaitable[None]], /
) -> Callable[[Stream[T]], Stream[U]]: ...


@overload
def transform(
    f: Callable[Concatenate[Receiver[T], Sender[U], P], Awaitable[None]], /
) -> Callable[P, Callable[[Stream[T]], Stream[U]]]: ...


def transform(f: Callable[..., Awaitable[None]], /) -> Any:
    """Make a transform of ``async def f(receive, send)``, to be used as ``stream.via(f)``.

    It runs in a task of its own, reads ``async for item in receive`` (or ``receive.chunks()``) and
    writes ``await send(item)`` (or ``send.chunk(items)``). Returning ends the stream for the
    stages behind it and cancels those before it. With further parameters it is called with them
    first: ``stream.via(f(3))``; where all of them have defaults, ``stream.via(f)`` takes those (and
    is what type checkers see). Cancelled, its ``finally`` blocks run.
    """
    if not options.is_async(f):
        raise options.refuse("transform", f"{function_name(f)} must be an async function")
    further = list(inspect.signature(f).parameters.values())[2:]
    if further:
        all_optional = all(each.default is not each.empty for each in further)

        @wraps(f)
        def with_options(*args: Any, **kwargs: Any) -> Any:
            if all_optional and len(args) == 1 and isinstance(args[0], Stream):
                return _transform(f, (), {})(*args)
            return _transform(f, args, kwargs)

        return with_options
    return wraps(f)(_transform(f, (), {}))


def _transform(
    f: Callable[..., Awaitable[None]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[Stream[Any]], Stream[Any]]:
    def apply(stream: Stream[Any]) -> Stream[Any]:
        if not isinstance(stream, Stream):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise options.refuse(function_name(f), f"takes a Stream, got {stream!r}")
        op = TaskOp(partial(_receive_send_first, f, args, kwargs), by_item=True)
        return stream._then(function_name(f), op, Traits(ends=True))  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001

    return apply


async def _receive_send_first(
    f: Callable[..., Awaitable[None]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    receive: object,
    send: object,
) -> None:
    await f(receive, send, *args, **kwargs)


def sink(f: Callable[Concatenate[Receiver[T], P], Awaitable[R]], /) -> Callable[P, Sink[T, R]]:
    """Make a sink of ``async def f(receive, …)``; what it returns is the pipeline's result.

    Calling it with the further arguments gives the sink: ``stream.to(f())``. Returning early ends
    the pipeline. Cancelled, its ``finally`` blocks run.
    """
    if not options.is_async(f):
        raise options.refuse("sink", f"{function_name(f)} must be an async function")

    @wraps(f)
    def make(*args: Any, **kwargs: Any) -> Sink[Any, Any]:
        return Sink(function_name(f), TaskSink(partial(_receive_first, f, args, kwargs)))

    return make


async def _receive_first(
    f: Callable[..., Awaitable[R]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    receive: object,
    tally: object,
) -> R:
    return await f(receive, *args, **kwargs)
