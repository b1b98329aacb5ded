"""``stdin_lines``: what comes in on standard input."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Final

import trio

from .. import _options as options
from .._failing import Errors
from .._spec import CountingSender, Node, PushSource, caller
from ..stream import Stream
from .decoding import check_reading_errors, decoded, start_decode_text
from .reading import MOST_BYTES
from .splitting import LineSplitter

_STANDARD_INPUT: Final = 0
_PIECE_BYTES: Final = 1 << 16
_PLACE: Final = "standard input"


def stdin_lines(*, errors: Errors = "raise", max_line_bytes: int = MOST_BYTES) -> Stream[str]:
    """The lines of standard input, UTF-8, without their ends (LF or CRLF), until it ends.

    Each run reads on where the one before left off, but for what that had taken: at most 64 KiB.
    What was read through ``sys.stdin`` may be missing here, and the other way round.

    Args:
        errors: what becomes of a line that is not UTF-8, which is the item, as bytes.
        max_line_bytes: a line of more fails the run.

    Memory holds a piece of 64 KiB, or a line where it is longer. Raises `StageError` where it can't
    be read. Waiting for a terminal or a pipe can be cancelled; the blocking mode of the descriptor,
    which other programs may share, is left as it is.
    """
    check_reading_errors("stdin_lines", errors)
    options.whole_number("stdin_lines", "max_line_bytes", max_line_bytes, at_least=1)
    op = PushSource(partial(_send_lines, max_line_bytes), by_item=False)
    lines = Node("stdin_lines", op, where=caller())
    return decoded(lines, errors, partial(start_decode_text, _PLACE, True), each=True)


async def _send_lines(max_line_bytes: int, send: CountingSender[Any]) -> None:
    lines = LineSplitter(_PLACE, max_line_bytes)
    file = os.dup(_STANDARD_INPUT)  # two runs may wait at a time, each for its own
    try:
        while piece := await _read(file):
            if found := lines.split(piece):
                await send.chunk(found)
        if rest := lines.end():
            await send.chunk(rest)
    finally:
        os.close(file)


async def _read(file: int) -> bytes:
    try:
        await trio.lowlevel.wait_readable(file)
    except OSError:  # a regular file, which can't be waited for, nor needs it
        return await trio.to_thread.run_sync(os.read, file, _PIECE_BYTES)
    return os.read(file, _PIECE_BYTES)
