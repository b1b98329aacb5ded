"""How a command ends when something is wrong: a line for each problem, and an exit status."""

from __future__ import annotations

from penstock._errors import describe
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


def unexpected(error: BaseException) -> Failure:
    """The failure for an error that no command foresaw."""
    return Failure(
        error_line(f"unexpected {describe(error)} (PENSTOCK_TRACEBACK=1 shows where from)")
    )
