"""What `check_transform` raises, and the comparisons that lead to it."""

from __future__ import annotations

from typing import Any

_LONG = 400


class ConformanceError(AssertionError):
    """A transform breaks a promise that the engine makes for every stage.

    Attributes:
        transform: its name.
        problem: what is wrong.
        tried: the run that showed it.
        given: the items that the source had.
        expected: the items that should have come out; None where that is not what it is about.
        came: the items that came out.
    """

    def __init__(
        self,
        transform: str,
        problem: str,
        tried: str,
        given: list[Any],
        expected: list[Any] | None,
        came: list[Any],
    ) -> None:
        self.transform = transform
        self.problem = problem
        self.tried = tried
        self.given = given
        self.expected = expected
        self.came = came
        super().__init__(transform, problem, tried, given, expected, came)

    def __str__(self) -> str:
        lines = [f"{self.transform}: {self.problem}", f"  tried:    {self.tried}"]
        lines.append(f"  given:    {_shown(self.given)}")
        if self.expected is not None:
            lines.append(f"  expected: {_shown(self.expected)}")
        lines.append(f"  came:     {_shown(self.came)}")
        return "\n".join(lines)


def _shown(items: list[Any]) -> str:
    text = repr(items)
    return text if len(text) <= _LONG else f"{text[:_LONG]}… ({len(items)} items)"


def compared(came: list[Any], expected: list[Any], *, ordered: bool) -> str:
    """What is wrong with the items that came; "" where nothing is."""
    if came == expected:
        return ""
    missing = _without(expected, came)
    too_many = _without(came, expected)
    if not missing and not too_many:
        return "the items come in another order" if ordered else ""
    found = [
        f"{len(some)} {what}"
        for some, what in ((missing, "missing"), (too_many, "too many"))
        if some
    ]
    return f"not the items that were expected: {' and '.join(found)}"


def is_beginning(came: list[Any], whole: list[Any], *, ordered: bool) -> bool:
    """Whether items may have come of a run that was cut off."""
    return came == whole[: len(came)] if ordered else not _without(came, whole)


def _without(items: list[Any], others: list[Any]) -> list[Any]:
    """The items that the others have no counterpart for; they needn't be hashable."""
    left = list(others)
    over: list[Any] = []
    for item in items:
        if item in left:
            left.remove(item)
        else:
            over.append(item)
    return over
