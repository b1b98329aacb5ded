"""How a command ends when something is wrong: a line for each problem, and an exit status."""

from __future__ import annotations

import select
import sys
from typing import TextIO

from penstock._errors import StageError, describe
from penstock.config.errors import one_line


class Failure(Exception):
    """Ends the command with these lines on standard error and this exit status."""

    def __init__(self, *lines: str, exit_code: int = 1) -> None:
        self.lines = tuple(map(one_line, lines))
        self.exit_code = exit_code
        super().__init__(*self.lines)


def error_line(error: BaseException | str) -> str:
    """``error: …``, for anything that is not in a config file."""
    return one_line(f"error: {error}")


def is_unread_output(error: BaseException) -> bool:
    """Whether a stage failed because nobody reads standard output any more: ``… | head -2``."""
    return (
        isinstance(error, StageError)
        and isinstance(error.cause, BrokenPipeError)
        and _is_unread(sys.stdout)
    )


def _is_unread(stream: TextIO) -> bool:
    # The error doesn't say of which pipe it is.
    if sys.platform == "win32":
        return False
    poll = select.poll()
    try:
        poll.register(stream, 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (OSError, ValueError):  # it is no file, or closed
        return False


def unexpected(error: BaseException) -> Failure:
    """The failure for an error that no command foresaw."""
    return Failure(
        error_line(f"unexpected {describe(error)} (PENSTOCK_TRACEBACK=1 shows where from)")
    )
