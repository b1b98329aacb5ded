"""One worker process, as the run sees it."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pickle
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from typing import cast

import trio

from ..._errors import PenstockError
from . import child, frames
from .frames import BEGUN, HEADER, NOTES, POSITION, SMALL, STOP, Notes

_AT_START = (
    "before it was ready, with its reasons on stderr; a script that runs this must do so under"
    ' `if __name__ == "__main__":`'
)


class WorkerDied(PenstockError):
    """A worker process ended without an answer: killed, out of memory, or crashed in C code.

    Attributes:
        exit_code: as `multiprocessing.Process.exitcode`: minus the number of the signal.
        doing: what it was at, in a few words.
    """

    def __init__(self, exit_code: int | None, doing: str) -> None:
        self.exit_code = exit_code
        self.doing = doing
        super().__init__(exit_code, doing)

    @property
    def was_killed(self) -> bool:
        """Whether it was ended by a signal rather than by itself."""
        return self.exit_code is not None and self.exit_code < 0

    def __str__(self) -> str:
        return f"a worker process died {self.doing} ({_ending(self.exit_code)})"


def _ending(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"killed by signal {-exit_code}"


class WorkerProcess:
    """A process that runs `child.serve`, and its connection."""

    def __init__(self, function: bytes, *, stop_at_failure: bool) -> None:
        context = multiprocessing.get_context("spawn")
        ours, self._theirs = socket.socketpair()
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self._notes = cast("Notes", context.RawArray("q", NOTES))
        self._limiter = trio.CapacityLimiter(1)
        self._process: SpawnProcess = context.Process(
            target=child.serve,
            args=(self._theirs, self._notes, os.getpid(), function, stop_at_failure),
            name="penstock worker",
        )

    @property
    def begun(self) -> int:
        """How many groups it has taken so far."""
        return self._notes[BEGUN]

    @property
    def position(self) -> int:
        """Which item of the newest of them it is at."""
        return self._notes[POSITION]

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises `WorkerDied` where it ends before that, or what the function's import raised.
        """
        try:
            await trio.to_thread.run_sync(self._start, limiter=self._limiter)
            self._theirs.close()
            message = await self.receive()
        except BaseException:
            await self.end(at_once=True)
            raise
        if message is None:
            raise WorkerDied(await self.end(), _AT_START)
        if message:
            await self.end()
            raise pickle.loads(message)  # noqa: S301 - of our own process

    def _start(self) -> None:
        with _interrupts_held_back():
            self._process.start()
        # Where the loop dies with the interpreter, nobody else ends the process.
        atexit.register(self._process.terminate)

    async def send(self, message: bytes) -> None:
        """Send a message; waits while the process has no room for it.

        Raises ``trio.BrokenResourceError`` where the process has gone.
        """
        header = HEADER.pack(len(message))
        if len(message) <= SMALL:
            await self._stream.send_all(header + message)
        else:
            await self._stream.send_all(header)
            await self._stream.send_all(message)

    async def receive(self) -> bytearray | None:
        """The next message, None where the process has gone."""
        return await frames.receive_async(self._receive_into)

    async def _receive_into(self, view: memoryview) -> int:
        return await self._stream.socket.recv_into(view)

    async def end(self, *, at_once: bool = False) -> int | None:
        """Stop it, after the call that it is running unless ``at_once``; its exit code."""
        self._notes[STOP] = 1
        with trio.CancelScope(shield=True):
            self._theirs.close()
            await trio.aclose_forcefully(self._stream)
            if self._process.pid is not None:
                if at_once:
                    self._process.kill()
                await trio.to_thread.run_sync(self._process.join, limiter=self._limiter)
                atexit.unregister(self._process.terminate)
        exit_code: int | None = self._process.exitcode
        return exit_code


@contextmanager
def _interrupts_held_back() -> Generator[None]:
    """Processes that start here start deaf to Ctrl-C, before they see to it themselves."""
    if not hasattr(signal, "pthread_sigmask"):  # not POSIX
        yield
        return
    resource_tracker.ensure_running()  # when it starts, it lets Ctrl-C through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
