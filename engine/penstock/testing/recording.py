"""Recording what passes a place in a pipeline: ``stream.via(recorder.tap)``.

A recording is a list of `Recorded` entries, or a file of them as lines of JSON:
``{"at":0.25,"items":[…]}`` for a chunk, with the seconds since the start of its run by Trio's
clock, ``{"at":0.0,"begins":true}`` where a run begins and ``{"at":9.5,"ends":true}`` where its
input ended.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeAlias, TypeVar

import msgspec
import trio

from .. import _options as options
from .._errors import ItemFailed
from .._spec import CountingSender, Receiver, TaskOp, Traits
from ..stream import Stream

T = TypeVar("T")

RecordingPath: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Recorded(Generic[T]):
    """One entry of a recording.

    Attributes:
        at: seconds since the start of the run, by Trio's clock.
        items: the chunk; empty where a run begins or ends.
        begins: a run begins here.
        ends: its input ended here. A run that failed or was cancelled has no such entry.
    """

    at: float
    items: Sequence[T] = ()
    begins: bool = False
    ends: bool = False


class Recorder(Generic[T]):
    """Records the chunks that pass it, in production, for a later `replay` in a test.

    It is put directly before the stage to be looked into, which takes the same chunks out of its
    channel when they are given again.

    Args:
        target: a file that is appended to, in a worker thread, or a list. A list gets the items
            themselves, a file their JSON as msgspec writes it: dataclasses, Structs, dates, enums,
            UUIDs and bytes come back as what they were where `replay` is told their type.
        limit: the most items that are recorded of a run; what comes after them just passes. So
            much memory a list takes, or so much room a file, with each run.

    Items go on once they are recorded (in a file: once the operating system has them), so a
    recording of a run that crashed ends with what crashed it. It serves one run at a time.

    Attributes:
        recorded: items recorded so far, by all runs.
    """

    def __init__(self, target: RecordingPath | list[Recorded[T]], *, limit: int = 100_000) -> None:
        if not isinstance(target, str | os.PathLike | list):
            raise options.refuse("Recorder", f"target must be a path or a list, got {target!r}")
        options.whole_number("Recorder", "limit", limit, at_least=1)
        self.recorded = 0
        self._target = target
        self._limit = limit

    def __call__(self, stream: Stream[T]) -> Stream[T]:
        """As `tap`: ``stream.via(recorder)``."""
        return self.tap(stream)

    def tap(self, stream: Stream[T]) -> Stream[T]:
        """The stream, recorded: ``stream.via(recorder.tap)``.

        Raises `StageError` at run time for an item that JSON can't hold, and for what the
        operating system refuses. Cancelled, the chunk that it is writing is in the recording.
        """
        return stream._then("record", TaskOp(self._record), Traits(each=True))  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - a stage like those of Stream's own

    async def _record(self, receive: Receiver[T], send: CountingSender[T]) -> None:
        start = trio.current_time()
        left = self._limit
        to = _List(self._target) if isinstance(self._target, list) else _File(Path(self._target))
        try:
            await to.write(Recorded(0.0, begins=True))
            async for items in receive.chunks():
                kept = items[:left]
                if kept:
                    await to.write(Recorded(trio.current_time() - start, kept))
                    left -= len(kept)
                    self.recorded += len(kept)
                await send.chunk(items)
            await to.write(Recorded(trio.current_time() - start, ends=True))
        finally:
            to.close()


class _List(Generic[T]):
    def __init__(self, entries: list[Recorded[T]]) -> None:
        self._entries = entries

    async def write(self, entry: Recorded[T]) -> None:
        self._entries.append(entry)

    def close(self) -> None:
        return


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    async def write(self, entry: Recorded[Any]) -> None:
        await trio.to_thread.run_sync(self._write, entry)

    def _write(self, entry: Recorded[Any]) -> None:
        if self._file is None:  # opened here, in the thread
            self._file = self._path.open("ab+")
            self._end_broken_line(self._file)
        self._file.write(_line(entry))
        self._file.flush()

    def _end_broken_line(self, file: IO[bytes]) -> None:
        """An earlier run may have been cut off in the middle of a line: the disk was full."""
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()  # nothing is left to be written


_encoder = msgspec.json.Encoder()


def _line(entry: Recorded[Any]) -> bytes:
    said: dict[str, Any] = {"at": entry.at}
    if entry.begins:
        said["begins"] = True
    elif entry.ends:
        said["ends"] = True
    else:
        said["items"] = entry.items
    try:
        return _encoder.encode(said) + b"\n"
    except Exception:
        _raise_for_the_one(entry.items)
        raise


def _raise_for_the_one(items: Sequence[Any]) -> None:
    for item in items:
        try:
            _encoder.encode(item)
        except Exception as error:
            raise ItemFailed(item) from error
