"""Standard input and output as one side of a conversation: a terminal, or lines of a script."""

from __future__ import annotations

import sys
from contextlib import suppress
from io import TextIOWrapper

import click

_PROMPT = "> "


class Talk:
    """What the user types, a line at a time, and what they are shown.

    On a terminal there are a prompt, editing and notes; to anything else goes the answers' text
    and nothing else. Control characters of a stranger's never reach a terminal.

    Attributes:
        interactive: whether somebody sits at the keyboard.
    """

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty()
        self._shown = sys.stdout.isatty()
        self._stopped = False
        self._at_line_start = True
        for stream in (sys.stdin, sys.stdout):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")
        if self.interactive and self._shown:
            with suppress(ImportError):  # it isn't everywhere
                import readline  # noqa: F401  # pyright: ignore[reportUnusedImport] - edits input()

    def read(self) -> str | None:
        """The next line, without its end; None at the end of input, or when the user is leaving.

        At the prompt Ctrl-C leaves where it has just stopped an answer, else the second time.
        """
        interrupted, self._stopped = self._stopped, False
        while True:
            try:
                return self._line()
            except EOFError:
                if self.interactive:
                    self.say("")
                return None
            except KeyboardInterrupt:
                if interrupted or not self.interactive:
                    self.say("")
                    return None
                interrupted = True
                self.say("\n(once more, or Ctrl-D, to leave)")

    def _line(self) -> str:
        if self.interactive and self._shown:
            line = input(_PROMPT)
        else:
            if self.interactive:
                click.echo(_PROMPT, nl=False, err=True)
            line = sys.stdin.readline()
            if not line:
                raise EOFError
        # A terminal gives bytes that are no UTF-8 as lone surrogates.
        return line.encode("utf-8", "surrogateescape").decode("utf-8", "replace").rstrip("\r\n")

    def write(self, text: str) -> None:
        """A piece of an answer, at once."""
        # Written in place: one task runs here, and it has nothing else to do.
        sys.stdout.write(plain(text) if self._shown else text)
        sys.stdout.flush()
        self._at_line_start = text.endswith("\n")

    def think(self, text: str) -> None:
        """A piece of reasoning, which only a terminal shows."""
        if self._shown:
            self.write(text)

    def end_line(self) -> None:
        """End the line of an answer."""
        if not self._at_line_start:
            self.write("\n")

    def stopped(self) -> None:
        """The user has stopped an answer."""
        self._stopped = True
        self.say("(stopped; once more, or Ctrl-D, to leave)")

    def say(self, text: str) -> None:
        """A line that is no answer, on standard error."""
        click.echo(plain(text), err=True)


def plain(text: str) -> str:
    """The text without control characters but for line ends and tabs."""
    return "".join(each for each in text if each in "\n\t" or not _is_control(ord(each)))


def _is_control(code: int) -> bool:
    return code < 0x20 or 0x7F <= code < 0xA0
