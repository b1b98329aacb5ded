"""Processes that are started pinned and surely ended, and what they cost."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

START_SECONDS = 30.0
END_SECONDS = 10.0
PRIORITY = -15


@contextlib.contextmanager
def running(
    command: list[str], core: int | None, **options: Any
) -> Generator[subprocess.Popen[str]]:
    """A process, pinned to a core, that is over when the block is left, whichever way.

    Where this user may do so, it goes before other work on the machine.
    """

    def prepare() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
            # Linux shares a core between sessions first: each process is one here, and this is its.
            Path("/proc/self/autogroup").write_text(str(PRIORITY))

    # Before the program itself: a worker that it forks at once inherits both.
    process = subprocess.Popen(
        command, text=True, preexec_fn=prepare, start_new_session=True, **options
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def free_port() -> int:
    """A port of the loopback that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[str]) -> bool:
    """Wait until the process accepts connections; False where it ends first or never does."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.05)
    return False


@dataclass(frozen=True)
class Usage:
    """What a server's processes, and everybody on its core, have used so far: CPU seconds."""

    own: float
    core: float | None
    """None where the server is not pinned."""

    @classmethod
    def of(cls, server: psutil.Process, core: int | None) -> Usage:
        """The usage up to now."""
        busy = None
        if core is not None:
            times = psutil.cpu_times(percpu=True)[core]
            idle = times.idle + getattr(times, "iowait", 0.0)
            busy = float(sum(times) - idle - getattr(times, "guest", 0.0))
        return cls(sum(_cpu_seconds(process) for process in _tree(server)), busy)


def resident_bytes(server: psutil.Process) -> int:
    """The resident memory of a server's processes."""
    return sum(int(process.memory_info().rss) for process in _tree(server))


def _tree(server: psutil.Process) -> list[psutil.Process]:
    return [server, *server.children(recursive=True)]


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
