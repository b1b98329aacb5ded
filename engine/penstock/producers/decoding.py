"""Lines and other pieces of bytes to values: a fused step, which knows where each one is from.

The happy path is one call from C for each line, without a loop in Python. When one can't be
decoded, the iterator stands just behind it; with ``errors="skip"`` or a dead letter the rest goes
on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import length_hint
from typing import Any, Protocol, cast

import msgspec

from .. import _options as options
from .._errors import ItemFailed
from .._failing import DeadLetters, Errors, Retry, can_fail, check_errors, sides_of
from .._spec import Chunk, Node, Step, StepControl, StepOp, Traits
from ..stream import Stream
from ..transforms.element import AtOnce


class BadLine(ValueError):
    """A line that can't be decoded: which file and line, and why."""


class Decode(Protocol):
    """``start`` of a decoding step, after its own options."""

    def __call__(self, errors: AtOnce, control: StepControl, /) -> Step:
        """The step of one run."""
        ...


def check_reading_errors(stage: str, errors: object) -> None:
    """Demand one of the choices of ``errors=`` that reading has."""
    check_errors(stage, errors)
    if isinstance(errors, Retry):
        raise options.refuse(
            stage,
            "errors can't be retry(…): the same bytes fail again; use 'skip' or dead_letter(sink)",
        )


def decoded(source: Node, errors: Errors, start: Decode, *, each: bool = False) -> Stream[Any]:
    """The stream of what the stage ``source`` gives, decoded."""
    return Stream(
        Node(
            "decode",
            StepOp(partial(start, cast("AtOnce", errors))),  # checked: no retry
            (source,),
            source.where,
            Traits(each=each, fails=can_fail(errors), of_source=True),
            sides_of(errors),
        )
    )


class Decoding(Protocol):
    """What a decoding step does with the items of one run."""

    def decode(self, waiting: Iterator[Any], /) -> Iterable[Any]:
        """The decoded items, as an iterable that keeps what it has given when it fails."""
        ...

    def explain(self, item: Any, at: int, error: Exception, /) -> tuple[Any, Exception] | None:
        """Of an item that failed, at that position: what is shown of it, and the error that tells.

        None passes over it (a blank line). Raises `ItemFailed` where nothing can go on.
        """
        ...

    def passed(self, count: int, /) -> None:
        """So many more items are done with."""
        ...


def leave_out(
    errors: AtOnce, control: StepControl, item: Any, error: Exception, cause: Exception
) -> None:
    """Deal with an item that can't be decoded as ``errors`` says; raises `ItemFailed`, or not."""
    error.__cause__ = cause
    if errors == "raise":
        raise ItemFailed(item) from error
    if isinstance(errors, DeadLetters):
        control.dead_letter(errors, item, error)
    else:
        control.skipped(1)


def resuming(decoding: Decoding, errors: AtOnce, control: StepControl) -> Step:
    """The step that decodes each chunk."""

    def step(items: Chunk) -> Chunk:
        done: Chunk = []
        waiting = iter(items)
        while True:
            try:
                done.extend(decoding.decode(waiting))
            except Exception as error:  # noqa: BLE001 - a type's own code may raise anything
                at = len(items) - length_hint(waiting) - 1
                explained = decoding.explain(items[at], at, error)
                if explained is not None:
                    leave_out(errors, control, *explained, error)
            else:
                decoding.passed(len(items))
                return done

    return step


class Numbered:
    """Decodes items that are numbered by their order."""

    def __init__(
        self,
        decode: Callable[[Any], Any],
        place: str,
        *,
        numbered: bool = True,
        is_nothing: Callable[[Any], bool] | None = None,
        shown: Callable[[Any], Any] | None = None,
    ) -> None:
        self._decode = decode
        self._place = place
        self._numbered = numbered
        self._is_nothing = is_nothing
        self._shown = shown
        self._passed = 0

    def decode(self, waiting: Iterator[Any]) -> Iterable[Any]:
        """See `Decoding.decode`."""
        return map(self._decode, waiting)

    def explain(self, item: Any, at: int, error: Exception) -> tuple[Any, Exception] | None:
        """See `Decoding.explain`."""
        if self._is_nothing is not None and self._is_nothing(item):
            return None
        number = f":{self._passed + at + 1}" if self._numbered else ""
        shown = item if self._shown is None else self._shown(item)
        return shown, BadLine(f"{self._place}{number}: {error}")

    def passed(self, count: int) -> None:
        """See `Decoding.passed`."""
        self._passed += count


def start_decode_text(place: str, numbered: bool, errors: AtOnce, control: StepControl) -> Step:
    """Lines of UTF-8 to text without line ends, LF or CRLF."""
    decoding = Numbered(_text, place, numbered=numbered)
    one_by_one = resuming(decoding, errors, control)

    def step(lines: Chunk) -> Chunk:
        try:
            text = b"".join(lines).decode()
        except UnicodeDecodeError:
            return one_by_one(lines)
        decoding.passed(len(lines))
        texts = text.split("\n")
        del texts[len(lines) :]
        return list(map(_without_end, texts)) if "\r" in text else texts

    return step


def _text(line: bytes) -> str:
    return _without_end(line.decode().removesuffix("\n"))


def _without_end(line: str) -> str:
    return line.removesuffix("\r")


def start_decode_json(place: str, type_: Any, errors: AtOnce, control: StepControl) -> Step:
    """Lines of JSON to values of a type; blank lines are passed over."""
    decode = msgspec.json.Decoder(type_).decode
    decoding = Numbered(decode, place, is_nothing=bytes.isspace, shown=_shown)
    return resuming(decoding, errors, control)


def _shown(line: bytes) -> str | bytes:
    """The text of a line, where it is text."""
    try:
        return _text(line)
    except UnicodeDecodeError:
        return line
