"""The machine: the cores of the server and the client, the limit of open files, what it is."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import subprocess
from pathlib import Path

import psutil


@functools.cache
def cores() -> tuple[int, int] | None:
    """A core for the server and another for the client; None where there is no choice.

    Asked first before this process is pinned itself, which leaves it no choice; hence the cache.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else None


def allow_descriptors() -> int:
    """Raise the limit of open files, which the processes inherit, to the hard one; gives it."""
    with contextlib.suppress(ImportError):  # only POSIX has such a limit
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard if hard != resource.RLIM_INFINITY else 1 << 20
    return 512


def description() -> list[str]:
    """The machine, one fact a line."""
    pinned = cores()
    where = f"server on core {pinned[0]}, client on core {pinned[1]}" if pinned else "not pinned"
    return [
        f"CPU: {_cpu_model()}, {psutil.cpu_count()} cores ({where})",
        f"memory: {psutil.virtual_memory().total / 2**30:.0f} GiB",
        f"system: {platform.system()} {platform.release().partition('-')[0]}, {_distribution()}",
        f"Python: {platform.python_version()} ({platform.python_implementation()})",
    ]


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _distribution() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown distribution")
    return "unknown distribution"


def version_of(command: list[str]) -> str:
    """The first line that a command prints, or "not installed"."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "not installed"
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines and done.returncode == 0 else "not installed"
