"""The errors of penstock: what was wrong, where, and what to do.

`PipelineError` is the builder's fault, `StageError` is a stage's at run time, `BufferOverflow` is a
buffer that was told to fail rather than to wait. All are `PenstockError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

_REPR_LIMIT = 200
_MOST_TOLD = 5

SEVERAL = "several stages failed"
"""What a group of failures of stages is called."""

SEVERAL_ENDED_IT = "several errors ended the run"
"""What it is called where an error of the user's block is among them."""

_OF_THE_RUNTIME = ("Exceptions from Trio nursery", SEVERAL, SEVERAL_ENDED_IT)
"""Groups that stand for nothing but the errors in them; all others are the user's own."""


class PenstockError(Exception):
    """Any error that penstock raises of its own accord."""


@dataclass(frozen=True, slots=True)
class Location:
    """The line of the user's code that a stage was written on."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class PipelineError(PenstockError):
    """A pipeline that can't be built as written; raised while it is built, before anything runs.

    Attributes:
        stage: the operator that refuses, as it is written (``batch``).
        problem: what is wrong, naming the option.
        where: the line of the user's code, where it is known.
    """

    def __init__(self, stage: str, problem: str, where: Location | None = None) -> None:
        self.stage = stage
        self.problem = problem
        self.where = where
        super().__init__(stage, problem, where)

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.stage}: {self.problem}{place}"


class StageError(PenstockError):
    """A stage that failed while the pipeline ran. ``__cause__`` is the error itself.

    Attributes:
        stage: the stage's name (``map(parse)``).
        cause: the exception that the stage's function raised.
        item_repr: the item it failed on, as ``repr`` cut to 200 characters; None where no single
            item is to blame.
        where: the line on which the stage was written, where it is known.
    """

    def __init__(
        self,
        stage: str,
        cause: BaseException,
        *,
        item_repr: str | None = None,
        where: Location | None = None,
    ) -> None:
        self.stage = stage
        self.cause = cause
        self.item_repr = item_repr
        self.where = where
        super().__init__(stage, cause)
        self.__cause__ = cause

    def __str__(self) -> str:
        item = "" if self.item_repr is None else f" on item {self.item_repr}"
        place = f" (stage written at {self.where})" if self.where else ""
        return f"{self.stage} failed{item}: {describe(self.cause)}{place}"


class BufferOverflow(PenstockError):
    """A ``buffer(n, overflow="fail")`` had no room for another item."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        super().__init__(capacity)

    def __str__(self) -> str:
        return (
            f'the buffer of {self.capacity} items is full and overflow="fail"; let it wait '
            '(overflow="block") or drop ("drop_oldest", "drop_newest", "conflate")'
        )


class AsyncMismatch(PenstockError, TypeError):
    """A function that is async where a plain one is called, or the other way round.

    It would be so for every item, so it ends the run whatever ``errors=`` says.
    """


class ItemFailed(Exception):
    """How an operator tells the runtime which item its user function failed on.

    Raised ``from`` the error itself; never reaches the user, who gets a `StageError`.
    """

    def __init__(self, item: Any) -> None:
        self.item = item
        super().__init__()


def describe(error: BaseException) -> str:
    """``ValueError: not a number``, or just the type where the error says nothing.

    Of a group, the first of the errors in it, too.
    """
    text = str(error)
    name = type(error).__name__
    said = f"{name}: {text}" if text else name
    if not isinstance(error, BaseExceptionGroup):
        return said
    leaves = ungroup(cast("BaseExceptionGroup[BaseException]", error))
    if len(leaves) == 1:  # a group of the user's own
        leaves = flatten(leaves[0])
    else:
        said = f"{len(leaves)} errors"
    told = "; ".join(describe(leaf) for leaf in leaves[:_MOST_TOLD])
    more = f"; and {len(leaves) - _MOST_TOLD} more" if len(leaves) > _MOST_TOLD else ""
    return f"{said}: {told}{more}"


def short_repr(item: object) -> str:
    """``repr(item)``, cut to 200 characters; a ``repr`` that raises doesn't hide the real error."""
    try:
        text = repr(item)
    except Exception as error:  # noqa: BLE001 - any repr may fail, in any way
        return f"<{type(item).__name__}, whose repr raised {type(error).__name__}>"
    return text if len(text) <= _REPR_LIMIT else text[: _REPR_LIMIT - 1] + "…"


def flatten(error: BaseException) -> list[BaseException]:
    """The errors inside nested exception groups, in order; a plain error is its own list."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for inner in group.exceptions for leaf in flatten(inner)]


def ungroup(error: BaseException) -> list[BaseException]:
    """The errors inside the groups that nurseries and runs make; a user's own group is one error.

    So nothing is lost that the user said with it: its class, its message, its notes.
    """
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    if group.message not in _OF_THE_RUNTIME:
        return [group]
    return [leaf for inner in group.exceptions for leaf in ungroup(inner)]


def root(error: Exception) -> Exception:
    """The one error in the group of a nursery; the error as it is where there are several."""
    leaves = ungroup(error)
    only = leaves[0] if len(leaves) == 1 else error
    return only if isinstance(only, Exception) else error
