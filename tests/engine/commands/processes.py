"""The command line in processes of its own, with a terminal or without."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 60
"""Seconds after which a process that should have ended is killed; the machine may be busy."""


def started(
    *arguments: str, cwd: Path, stderr: int = subprocess.PIPE, **environment: str
) -> subprocess.Popen[str]:
    """``penstock ARGUMENTS``, its output in pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "penstock.cli", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    )


class Terminal:
    """A command on a terminal, and all that it has shown there."""

    def __init__(self, process: subprocess.Popen[str], ours: int) -> None:
        self.process = process
        self.shown = ""
        self._ours = ours

    @property
    def text(self) -> str:
        """What it has shown, without colours and movements of the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.shown)

    def read(self) -> bool:
        """Wait for more; False where nobody has the terminal open any more."""
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # how Linux says so
            return False
        self.shown += piece.decode(errors="replace")
        return bool(piece)

    def read_until(self, words: str) -> None:
        """Wait until that has been shown."""
        while words not in self.text:
            assert self.read(), f"ended without {words!r}:\n{self.text}"

    def type(self, keys: str) -> None:
        """Type something."""
        os.write(self._ours, keys.encode())

    def read_all(self) -> None:
        """Wait for the end of the command."""
        while self.read():
            pass


@contextmanager
def on_terminal(
    *arguments: str, cwd: Path, columns: int = 100, rows: int = 40
) -> Generator[Terminal]:
    """``penstock ARGUMENTS`` on a terminal of its own, where Ctrl-C is a key; stdout in a pipe."""
    import fcntl
    import pty
    import termios

    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    become_its_own = (
        "import fcntl, os, sys, termios\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'penstock.cli', *sys.argv[1:]])\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in _SIZES}
    process = subprocess.Popen(
        [sys.executable, "-c", become_its_own, *arguments],
        cwd=cwd,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        start_new_session=True,
        env={**environment, "TERM": "xterm", "PYTHONUNBUFFERED": "1"},
    )
    os.close(terminal)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
        os.close(ours)


_SIZES = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
