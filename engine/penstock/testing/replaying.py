"""``replay``: a recording given again, at the same times."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast, overload

import msgspec
import trio

from .. import _options as options
from .._spec import CountingSender, Node, PushSource, caller
from ..stream import Stream
from .recording import Recorded, RecordingPath

T = TypeVar("T")


@overload
def replay(recording: Sequence[Recorded[T]], *, run: int = -1) -> Stream[T]: ...


@overload
def replay(recording: RecordingPath, type: type[T], *, run: int = -1) -> Stream[T]: ...


@overload
def replay(recording: RecordingPath, *, run: int = -1) -> Stream[Any]: ...


def replay(
    recording: Any,
    type: Any = Any,  # noqa: A002
    *,
    run: int = -1,
) -> Stream[Any]:
    """The chunks of a recording, each at its time after the start, by Trio's clock.

    Under a mock clock that jumps, a recording of hours is over at once, and always the same. A
    chunk that the stages behind had no room for in time follows as soon as they have. It ends
    when the recorded input did, or after the last chunk of a run that was cut off.

    Args:
        recording: a list of `Recorded` entries, or a file that a `Recorder` wrote.
        type: what the items of a file are decoded to and checked against, as in `read_jsonl`.
        run: which run of a recording of several: 0 is the first, -1 the last.

    Memory holds one chunk. A file is read in the event loop, since a mock clock would jump while a
    thread reads it. Raises `StageError` at run time where it can't be read, or holds no such run.
    """
    if not isinstance(recording, str | os.PathLike | Sequence):
        raise options.refuse("replay", f"recording must be a path or a list, got {recording!r}")
    if not isinstance(run, int):
        raise options.refuse("replay", f"run must be a whole number, got {run!r}")
    name = "replay"
    if isinstance(recording, str | os.PathLike):
        path = Path(cast("RecordingPath", recording))
        name = f"replay({path.name})"
        entries: _Entries = partial(_entries_of_file, path, type)
    else:
        entries = partial(_entries_of_list, cast("Sequence[Recorded[Any]]", recording))
    op = PushSource(partial(_replay, entries, run), by_item=False)
    return Stream(Node(name, op, where=caller()))


_Entries: TypeAlias = Callable[[], Generator[Recorded[Any]]]


async def _replay(entries: _Entries, run: int, send: CountingSender[Any]) -> None:
    start = trio.current_time()
    number = run if run >= 0 else _count_runs(entries) + run
    with closing(entries()) as found:
        for entry in _of_run(found, number, run):
            await trio.sleep_until(start + entry.at)
            if entry.ends:
                return
            await send.chunk(list(entry.items))


def _count_runs(entries: _Entries) -> int:
    return sum(entry.begins for entry in entries())


def _of_run(entries: Iterator[Recorded[Any]], number: int, asked: int) -> Iterator[Recorded[Any]]:
    at = -1
    for entry in entries:
        at += entry.begins
        if at > number >= 0:
            return
        if at == number and not entry.begins:
            yield entry
    if not 0 <= number <= at:
        held = "1 run" if at == 0 else f"{at + 1} runs"
        raise LookupError(f"the recording holds {held}; run={asked} is not there")


def _entries_of_list(entries: Sequence[Recorded[Any]]) -> Generator[Recorded[Any]]:
    for entry in entries:
        if not isinstance(entry, Recorded):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"a recording is a list of Recorded entries, as a Recorder makes; got {entry!r}"
            )
        yield entry


def _entries_of_file(path: Path, type_: Any) -> Generator[Recorded[Any]]:
    """The entries, without a line that was never finished: the last one of a run."""
    decode = msgspec.json.Decoder(Recorded[type_]).decode
    broken: ValueError | None = None
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                entry = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if broken is not None:
                    raise broken from None
                broken = ValueError(f"{path}:{number}: {error}")
                continue
            if broken is not None and not entry.begins:
                raise broken
            broken = None
            yield entry
