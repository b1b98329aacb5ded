"""What is wrong with a config file, in one line."""

from __future__ import annotations

from penstock._errors import PenstockError


class ConfigError(PenstockError):
    """A config file that can't be used. ``str()`` is one line: ``file:line: problem; hint``.

    Attributes:
        file: the file, as the user named it.
        line: the line to blame, from 1; 1 where it is the file as a whole, None where it can't be
            read.
        problem: what is wrong.
        hint: what to do about it; empty where the problem says it all.
    """

    def __init__(self, file: str, line: int | None, problem: str, hint: str = "") -> None:
        self.file = file
        self.line = line
        self.problem = one_line(problem)
        self.hint = one_line(hint)
        super().__init__(file, line, self.problem, self.hint)

    def __str__(self) -> str:
        advice = f"; {self.hint}" if self.hint else ""
        return f"{place(self.file, self.line)}: {self.problem}{advice}"


def place(file: str, line: int | None) -> str:
    """``file:line``, or ``file`` where there is no line to name."""
    return file if line is None else f"{file}:{line}"


def one_line(text: str) -> str:
    """The text with every run of white space, line ends too, as one space."""
    return " ".join(text.split())
