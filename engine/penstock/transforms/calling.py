"""A user's function called for each item of a chunk, in a task operator: what ``errors=`` says.

The happy path is one comprehension, as in `element`. Here a failure may be waited for: another
attempt, a dead letter that goes to its sink.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from inspect import iscoroutine
from operator import length_hint
from typing import Any

from .._errors import AsyncMismatch, ItemFailed
from .._failing import LEFT_OUT, Errors, plain_answer, settle
from .._spec import Chunk, Tally


def _as_it_is(value: Any) -> Any:
    return value


def _is_fine(values: Chunk) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function must give.

    Attributes:
        check: gives the value as it is wanted, or raises.
        are_fine: whether a whole list is surely as `check` would have it: the quick way.
    """

    check: Callable[[Any], Any] = _as_it_is
    are_fine: Callable[[Chunk], bool] = _is_fine


def _hashable(value: Any) -> Any:
    hash(value)
    return value


def _are_hashable(values: Chunk) -> bool:
    try:
        deque(map(hash, values), maxlen=0)
    except Exception:  # noqa: BLE001 - a key's hash may raise anything; `check` raises it again
        return False
    return True


ANY = Answer()
KEY = Answer(_hashable, _are_hashable)


class Calls:
    """The calls that one stage of one run makes."""

    def __init__(self, errors: Errors, tally: Tally) -> None:
        self._errors: Errors = errors
        self._tally = tally

    async def each(
        self,
        f: Callable[[Any], Any],
        items: Chunk,
        answer: Answer = ANY,
        one_less: Callable[[], None] = lambda: None,
    ) -> tuple[Chunk, Collection[int]]:
        """The answers, and the numbers of the items that have none: their call failed.

        ``one_less`` is called when an item has been left out; others may be waited for after it.
        Raises `ItemFailed` where a failure ends the run.
        """
        if self._errors == "raise":
            return _strictly(f, items, answer), ()
        answers: Chunk = []
        left_out: set[int] = set()
        waiting = iter(items)
        while True:
            try:
                answers.extend(answer.check(f(item)) for item in waiting)
            except Exception as error:  # noqa: BLE001 - what the user's choice is for
                failed = len(items) - length_hint(waiting) - 1
                given = await self._settle(f, items[failed], answer, error)
                if given is LEFT_OUT:
                    left_out.add(failed)
                    one_less()
                else:
                    answers.append(given)
            else:
                _demand_plain(answers, items)
                return answers, left_out

    async def _settle(
        self, f: Callable[[Any], Any], item: Any, answer: Answer, error: Exception
    ) -> Any:
        async def again(item: Any) -> Any:
            return answer.check(f(item))

        return await settle(self._errors, item, error, again, self._tally)


def without(left_out: Collection[int], items: Chunk) -> Chunk:
    """The items but for those of the given numbers."""
    if not left_out:
        return items
    return [item for number, item in enumerate(items) if number not in left_out]


def _demand_plain(answers: Chunk, items: Chunk) -> None:
    """Refuse a function that gives coroutines, as far as the first answer shows it."""
    if answers and iscoroutine(answers[0]):
        for coroutine in filter(iscoroutine, answers[1:]):
            coroutine.close()
        try:
            plain_answer(answers[0], "map_async before it")
        except AsyncMismatch as error:
            raise ItemFailed(items[0]) from error


def _strictly(f: Callable[[Any], Any], items: Chunk, answer: Answer) -> Chunk:
    waiting = iter(items)
    try:
        answers = [f(item) for item in waiting]
        _demand_plain(answers, items)
        if answer.are_fine(answers):
            return answers
        waiting = iter(items)
        return [answer.check(given) for given, _ in zip(answers, waiting, strict=True)]
    except ItemFailed:
        raise
    except Exception as error:
        raise ItemFailed(items[len(items) - length_hint(waiting) - 1]) from error
