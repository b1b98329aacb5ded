"""``subprocess_lines``: what another program writes to its standard output."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import trio

from .. import _options as options
from .._errors import PenstockError
from .._failing import Errors
from .._spec import CountingSender, Node, PushSource, caller
from ..stream import Stream
from .decoding import check_reading_errors, decoded, start_decode_text
from .reading import MOST_BYTES
from .splitting import LineSplitter

PathLike: TypeAlias = str | os.PathLike[str]

_PIECE_BYTES: Final = 1 << 16
_KEPT_BYTES: Final = 1 << 16
_SHOWN_CHARACTERS: Final = 2000
_LAST_WORDS_SECONDS: Final = 1.0
"""For the standard error of a program that is over but left it to others, which keep it open."""


class ProcessFailed(PenstockError):
    """A program that ended with another status than 0.

    Attributes:
        cmd: the program and its arguments.
        returncode: its exit status; minus the number of the signal that ended it.
        stderr: the end of what it wrote to its standard error, up to 64 KiB.
    """

    def __init__(self, cmd: tuple[str, ...], returncode: int, stderr: str) -> None:
        self.cmd = cmd
        self.returncode = returncode
        self.stderr = stderr
        super().__init__(cmd, returncode, stderr)

    def __str__(self) -> str:
        said = self.stderr.strip()
        if len(said) > _SHOWN_CHARACTERS:
            said = "…" + said[-_SHOWN_CHARACTERS:]
        return f"{self.cmd[0]} {_how_it_ended(self.returncode)}" + (f": {said}" if said else "")


def _how_it_ended(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with status {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"


@dataclass(frozen=True, slots=True)
class _Command:
    cmd: tuple[str, ...]
    cwd: PathLike | None
    env: dict[str, str] | None
    check: bool
    grace: float
    max_line_bytes: int


def subprocess_lines(
    cmd: Sequence[PathLike],
    *,
    cwd: PathLike | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    errors: Errors = "raise",
    grace: float = 5.0,
    max_line_bytes: int = MOST_BYTES,
) -> Stream[str]:
    """The lines that a program writes to its standard output, without their ends (LF or CRLF).

    It is started anew for each run, without a shell and with nothing to read. Where the stages
    behind are slower, the program waits in its write.

    Args:
        cmd: the program and its arguments: ``["git", "log"]``.
        cwd: the folder it runs in, else the current one.
        env: all of its environment, else the current one.
        check: whether another exit status than 0 fails the run, after the last line.
        errors: what becomes of a line that is not UTF-8, which is the item, as bytes.
        grace: seconds between asking it to end (SIGTERM) and ending it (SIGKILL), by Trio's clock,
            where the run is stopped, fails or is cancelled, or wants no more lines.
        max_line_bytes: a line of more fails the run.

    Memory holds a piece of 64 KiB, or a line where it is longer, and the last 64 KiB of its
    standard error. Raises `StageError`, from `ProcessFailed` where the status is not 0, and where
    the program can't be started. When it returns, the program is over; what that has started
    itself is its own business. `Stream.restart` behind it runs the program again where it fails;
    lines are counted on then.
    """
    argv = _checked(cmd)
    check_reading_errors("subprocess_lines", errors)
    options.seconds("subprocess_lines", "grace", grace, above_zero=False)
    options.whole_number("subprocess_lines", "max_line_bytes", max_line_bytes, at_least=1)
    name = Path(argv[0]).name
    command = _Command(
        argv, cwd, None if env is None else dict(env), bool(check), grace, max_line_bytes
    )
    op = PushSource(partial(_send_lines, command), by_item=False)
    lines = Node(f"subprocess_lines({name})", op, where=caller())
    return decoded(lines, errors, partial(start_decode_text, name, True), each=True)


def _checked(cmd: Any) -> tuple[str, ...]:
    if isinstance(cmd, str | bytes | os.PathLike) or not isinstance(cmd, Sequence):
        raise options.refuse(
            "subprocess_lines",
            f'cmd must be a list, the program and its arguments: ["ls", "-l"]; got {cmd!r}',
        )
    words: list[str] = []
    for word in cast("Sequence[object]", cmd):
        if not isinstance(word, str | os.PathLike):
            raise options.refuse("subprocess_lines", f"cmd must be of texts or paths, got {word!r}")
        words.append(os.fspath(cast("PathLike", word)))
    if not words:
        raise options.refuse("subprocess_lines", "cmd is empty")
    return tuple(words)


async def _send_lines(command: _Command, send: CountingSender[Any]) -> None:
    process = await trio.lowlevel.open_process(
        command.cmd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=command.cwd,
        env=command.env,
    )
    try:
        await _until_it_ends(process, command, send)
    finally:
        with trio.CancelScope(shield=True):
            await _end(process, command.grace)


async def _until_it_ends(
    process: trio.Process, command: _Command, send: CountingSender[Any]
) -> None:
    assert process.stdout is not None
    lines = LineSplitter(Path(command.cmd[0]).name, command.max_line_bytes)
    last_words = _LastWords(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(last_words.listen)
        while piece := await process.stdout.receive_some(_PIECE_BYTES):
            if found := lines.split(bytes(piece)):
                await send.chunk(found)
        if rest := lines.end():
            await send.chunk(rest)
        status = await process.wait()
        with trio.move_on_after(_LAST_WORDS_SECONDS):
            await last_words.over.wait()
        nursery.cancel_scope.cancel("the program is over")
    if status and command.check:
        raise ProcessFailed(command.cmd, status, last_words.text)


class _LastWords:
    """The end of what a program writes to its standard error, which must not fill up."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stderr is not None
        self._stream = process.stderr
        self._kept = b""
        self.over = trio.Event()

    @property
    def text(self) -> str:
        return self._kept.decode(errors="replace")

    async def listen(self) -> None:
        while piece := await self._stream.receive_some(_PIECE_BYTES):
            self._kept = (self._kept + piece)[-_KEPT_BYTES:]
        self.over.set()


async def _end(process: trio.Process, grace: float) -> None:
    """Make an end of the program, if it hasn't ended, and of the pipes to it."""
    if process.returncode is None:
        process.terminate()
        with trio.move_on_after(grace):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            await stream.aclose()
