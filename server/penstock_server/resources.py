"""``@server.lifespan``: what pipelines share, from before they start until they have ended."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeAlias, TypeVar

import penstock as ps

ResourcesFunction = TypeVar(
    "ResourcesFunction",
    bound="Callable[[], AbstractAsyncContextManager[Any] | AsyncIterator[Any]]",
)

_Open: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]


class Resources:
    """The one lifespan function of a server, where it has one."""

    def __init__(self) -> None:
        self._open: _Open | None = None
        self.where: ps.Location | None = None

    def declare(self, function: ResourcesFunction, where: ps.Location | None) -> ResourcesFunction:
        """Take the function that gives the context manager. Raises `PipelineError`."""
        if self._open is not None:
            problem = f"there is one already, at {self.where}; make one function of the two"
            raise ps.PipelineError("lifespan", problem, where)
        if not callable(function):
            problem = f"decorates a function, not {function!r}"
            raise ps.PipelineError("lifespan", problem, where)
        _check_call(function, where)
        given: Any = function
        self._open = asynccontextmanager(given) if inspect.isasyncgenfunction(given) else given
        self.where = where
        return function

    @property
    def declared(self) -> bool:
        """Whether there is such a function."""
        return self._open is not None

    def open(self) -> AbstractAsyncContextManager[Any]:
        """The context manager for one run of the server.

        Raises `PipelineError` where the function gives something else, and what it raises itself.
        """
        if self._open is None:
            return nullcontext()
        given: Any = self._open()
        if hasattr(given, "__aenter__") and hasattr(given, "__aexit__"):
            manager: AbstractAsyncContextManager[Any] = given
            return manager
        hint = ""
        if inspect.iscoroutine(given):
            given.close()
            hint = "; write `yield` in it"
        problem = f"its function gave {given!r}, no async context manager{hint}"
        raise ps.PipelineError("lifespan", problem, self.where)


def _check_call(function: Callable[..., Any], where: ps.Location | None) -> None:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        problem = f"its function is called without arguments: {error}"
        raise ps.PipelineError("lifespan", problem, where) from error
    except ValueError:  # a built-in that doesn't tell its parameters
        return
