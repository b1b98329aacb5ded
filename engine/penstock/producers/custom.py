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
from functools import partial, update_wrapper, wraps
from itertools import islice
from types import MethodType
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from .. import _options as options
from .._errors import PenstockError
from .._forwarding import forward_async_iterable
from .._spec import (
    Chunk,
    CountingSender,
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
    function is called anew for each run. Cancelled, its ``finally`` blocks run. One that returns
    and has not awaited a ``send`` fails: its items would be lost unnoticed.

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

    def stream(*args: Any, **kwargs: Any) -> Stream[Any]:
        call = partial(f, *args, **kwargs)
        if pulls:
            return Stream(Node(name, PullSource(partial(_open_generator, call)), where=caller()))
        work = partial(_forward_call, call) if yields else partial(_put_first, f, args, kwargs)
        return Stream(Node(name, PushSource(work, by_item=not chunked), where=caller()))

    made = _Producer(f, stream)
    if not pulls and not yields:  # `send` is not the caller's to give
        made.__signature__ = _without_first(inspect.signature(f))
    return made


class _Producer:
    """A user's function as a producer; tells who takes it for a stream to call it."""

    __signature__: inspect.Signature

    def __init__(self, f: Callable[..., Any], stream: Callable[..., Stream[Any]]) -> None:
        update_wrapper(self, f)
        self._stream = stream

    def __call__(self, *args: Any, **kwargs: Any) -> Stream[Any]:
        return self._stream(*args, **kwargs)

    def __get__(self, instance: object, owner: object = None) -> Any:
        """A method, where it is defined in a class."""
        return self if instance is None else MethodType(self, instance)

    def __getattr__(self, name: str) -> Any:
        shown = function_name(self) if "__name__" in self.__dict__ else "producer"
        hint = f"; call it: {shown}().{name}" if hasattr(Stream, name) else ""
        raise AttributeError(f"the producer {shown} has no attribute {name!r}{hint}")

    def __repr__(self) -> str:
        return f"<producer {function_name(self)}>"

    def __reduce__(self) -> str:
        """Pickled by its name, as functions are."""
        return str(self.__dict__["__qualname__"])


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
    f: Callable[..., Awaitable[None]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    send: CountingSender[Any],
) -> None:
    """Call ``f`` with its end of the channel before the arguments that the user gave."""
    asked = _AskedSender(send)
    await f(asked, *args, **kwargs)
    asked.demand_all_were_awaited()


class _AskedSender:
    """The sender of a user's function: counts what it is asked to send.

    What it was asked for and was not given is in a coroutine that nobody awaited.
    """

    __slots__ = ("_asked", "_chunk", "_send", "_sender")

    def __init__(self, send: CountingSender[Any]) -> None:
        self._sender = send
        self._send: Callable[[Any], Awaitable[None]] = send.__call__
        self._chunk = send.chunk
        self._asked = send.given

    def __call__(self, item: Any) -> Awaitable[None]:
        self._asked += 1
        return self._send(item)

    def chunk(self, items: Chunk) -> Awaitable[None]:
        self._asked += len(items)
        return self._chunk(items)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sender, name)

    def demand_all_were_awaited(self) -> None:
        lost = self._asked - self._sender.given
        if lost > 0:
            items = "1 item is" if lost == 1 else f"{lost:,} items are"
            raise PenstockError(f"send(…) was not awaited, so {items} lost: write await send(…)")


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

    @wraps(f)
    def without_options(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != 1:
            name = function_name(f)
            raise options.refuse(name, f"takes no options: .via({name})")
        return _transform(f, (), {})(*args)

    return without_options


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
    send: CountingSender[Any],
) -> None:
    asked = _AskedSender(send)
    await f(receive, asked, *args, **kwargs)
    asked.demand_all_were_awaited()


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
