"""Noticing that files have changed, once whoever writes them is done.

By reading them, all of them, again and again: they are a handful of small files. That needs no
dependency, misses nothing however quickly one write follows another, and works on network drives
and in containers, where the system's notifications don't come.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeAlias

import trio

LOOK_SECONDS = 0.5
SETTLE_SECONDS = 0.1
PATIENCE = 1.0
"""Seconds for which a file may be missing, or be written to, before it is taken as it is."""

Contents: TypeAlias = dict[Path, bytes | None]
"""What is in files; None for one that can't be read, as while an editor replaces it."""


def read_files(paths: Iterable[Path]) -> Contents:
    """What is in the files right now."""
    return {path: _read(path) for path in paths}


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


async def next_change(watched: Callable[[], Collection[Path]], known: Contents) -> Contents:
    """Wait until files hold something else than is known of them; gives what they hold then.

    Args:
        watched: gives the files to look at. One that is not in `known` is added to it as it is.
        known: what they held.

    It waits until they stay as they are for a moment and none is missing, at most `PATIENCE`.
    A change that is taken back meanwhile is none.
    """
    while True:
        await trio.sleep(LOOK_SECONDS)
        now = _look(watched, known)
        if not _differs(now, known):
            continue
        with trio.move_on_after(PATIENCE):
            before: Contents = {}
            while now != before or None in now.values():
                await trio.sleep(SETTLE_SECONDS)
                before, now = now, _look(watched, known)
        if _differs(now, known):
            return now


def _look(watched: Callable[[], Collection[Path]], known: Contents) -> Contents:
    now = read_files(watched())
    for path, content in now.items():
        known.setdefault(path, content)
    return now


def _differs(now: Contents, known: Contents) -> bool:
    return any(content != known[path] for path, content in now.items())
