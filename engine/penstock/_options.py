"""Checks of operator options, made while a pipeline is built: each error names its option."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Sequence
from typing import Any, cast

from ._errors import PipelineError
from ._spec import caller, function_name


def refuse(stage: str, problem: str) -> PipelineError:
    """The error for ``stage`` with the caller's line; to be raised."""
    return PipelineError(stage, problem, caller())


def whole_number(stage: str, option: str, value: Any, *, at_least: int | None = None) -> None:
    """Demand an int, of at least ``at_least`` where it is given; a bool is not a number here."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or (at_least is not None and value < at_least):
        bound = "" if at_least is None else f" of at least {at_least}"
        raise refuse(stage, f"{option} must be a whole number{bound}, got {value!r}")


def seconds(stage: str, option: str, value: Any, *, above_zero: bool = True) -> None:
    """Demand a finite number of seconds, above zero unless told otherwise."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or value != value or value == float("inf") or value < 0:
        raise refuse(stage, f"{option} must be a number of seconds, got {value!r}")
    if above_zero and value == 0:
        raise refuse(stage, f"{option} must be more than 0 seconds, got {value!r}")


def one_of(stage: str, option: str, value: Any, choices: tuple[str, ...]) -> None:
    """Demand one of the given words."""
    if value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise refuse(stage, f"{option} must be one of {allowed}, got {value!r}")


def function(stage: str, option: str, value: Any, *, instead: str | None = None) -> None:
    """Demand something callable; with ``instead``, not a coroutine function.

    ``instead`` names the operator that does take one.
    """
    if not callable(value):
        raise refuse(stage, f"{option} must be a function, got {value!r}{_called(value)}")
    if instead is not None and is_async(value):
        raise refuse(
            stage,
            f"{option} must be an ordinary function, but {function_name(value)} is async;"
            f" use {instead}",
        )


def _called(value: object) -> str:
    """A hint where a function was called and what it gave was given instead."""
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that it was never awaited
    elif not (inspect.isasyncgen(value) or inspect.isgenerator(value)):
        return ""
    return f"; give {value.__name__}, not {value.__name__}(…)"


def uncalled(value: object) -> str:
    """A hint where a function was given in place of what it gives."""
    return f"; call it: {function_name(value)}()" if callable(value) else ""


def names(stage: str, option: str, value: Any) -> tuple[str, ...]:
    """Demand a sequence of different texts, at least one."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        given = tuple(cast("Sequence[object]", value))
        if given and len(set(map(repr, given))) == len(given):
            texts = [each for each in given if isinstance(each, str)]
            if len(texts) == len(given):
                return tuple(texts)
    raise refuse(stage, f"{option} must be different names, got {value!r}")


def delimiter(stage: str, value: Any) -> None:
    """Demand a character that can stand between the cells of a table."""
    if not isinstance(value, str) or len(value) != 1 or value in '"\r\n':
        raise refuse(stage, f"delimiter must be one character, got {value!r}")


def is_async(value: Any) -> bool:
    """Whether calling it gives a coroutine, as far as can be told without calling it."""
    call = getattr(value, "__call__", None)  # noqa: B004 - the method itself is wanted
    return inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(call)


def importable(stage: str, option: str, value: Any) -> None:
    """Demand a function that another process can import: pickled by its name."""
    try:
        pickle.dumps(value)
    except Exception as error:
        raise refuse(
            stage,
            f"{option} must be importable by name to run on processes, but"
            f" {function_name(value)} is not (a lambda, a local function, or a closure);"
            " define it at the top level of a module",
        ) from error
