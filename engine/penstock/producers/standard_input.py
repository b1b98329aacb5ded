"""``stdin_lines``: what comes in on standard input."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio

from .. import _options as options
from .._errors import PenstockError
from .._failing import Errors
from .._spec import Claim, CountingSender, Node, PushSource, Traits, caller
from ..stream import Stream
from .decoding import check_reading_errors, decoded, start_decode_text
from .reading import MOST_BYTES
from .splitting import LineSplitter

_STANDARD_INPUT: Final = 0
_PIECE_BYTES: Final = 1 << 16
_PLACE: Final = "standard input"
_TRAITS: Final = Traits(
    once="has no beginning to go back to: what it had taken when it failed is gone",
    claim=Claim(
        _PLACE, "reads", "each would miss what the other took: .broadcast(2) makes two of one"
    ),
)


@dataclass
class _Uses:
    """What the runs of this process have done with the one standard input that it has.

    ``of`` is its device and inode: another file may be put in its place.
    """

    of: tuple[int, int] = (0, 0)
    going_on: bool = False
    taken: bool = False


_uses = _Uses()


def stdin_lines(*, errors: Errors = "raise", max_line_bytes: int = MOST_BYTES) -> Stream[str]:
    """The lines of standard input, UTF-8, without their ends (LF or CRLF), until it ends.

    One run reads it at a time, in all of the process. The next one reads on where that left off,
    but for what that had taken: at most 64 KiB; where nothing is left but the end, it fails. What
    was read through ``sys.stdin`` may be missing here, and the other way round.

    Args:
        errors: what becomes of a line that is not UTF-8, which is the item, as bytes.
        max_line_bytes: a line of more fails the run.

    A byte order mark that it begins with is left out. Memory holds a piece of 64 KiB, or a line
    where it is longer. Raises `PipelineError` where two stages of a pipeline read it, `StageError`
    where it can't be read, or another run reads it or has taken all of it. Waiting for a terminal
    or a pipe can be cancelled; the blocking mode of the descriptor, which other programs may share,
    is left as it is.
    """
    check_reading_errors("stdin_lines", errors)
    options.whole_number("stdin_lines", "max_line_bytes", max_line_bytes, at_least=1)
    op = PushSource(partial(_send_lines, max_line_bytes), by_item=False)
    lines = Node("stdin_lines", op, where=caller(), traits=_TRAITS)
    return decoded(lines, errors, partial(start_decode_text, _PLACE, True), each=True)


async def _send_lines(max_line_bytes: int, send: CountingSender[Any]) -> None:
    lines = LineSplitter(_PLACE, max_line_bytes)
    uses = _uses_now()
    if uses.going_on:
        raise PenstockError("another stdin_lines reads it already; .broadcast(2) makes two of one")
    may_be_used_up = uses.taken
    uses.going_on = True
    file = os.dup(_STANDARD_INPUT)  # others may wait for it at the same time
    try:
        while piece := await _read(file):
            uses.taken = True
            may_be_used_up = False
            if found := lines.split(piece):
                await send.chunk(found)
        if may_be_used_up and not os.isatty(file):  # what is typed may end many times
            raise PenstockError("an earlier run has taken all there was of standard input")
        if rest := lines.end():
            await send.chunk(rest)
    finally:
        os.close(file)
        uses.going_on = False


def _uses_now() -> _Uses:
    global _uses
    there = os.fstat(_STANDARD_INPUT)
    if _uses.of != (there.st_dev, there.st_ino):
        _uses = _Uses((there.st_dev, there.st_ino))
    return _uses


async def _read(file: int) -> bytes:
    try:
        await trio.lowlevel.wait_readable(file)
    except OSError:  # a regular file, which can't be waited for, nor needs it
        return await trio.to_thread.run_sync(os.read, file, _PIECE_BYTES)
    return os.read(file, _PIECE_BYTES)
