"""How files are read: in threads, or at once where the system has the bytes in its memory."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import penstock as ps
from penstock.producers import reading
from penstock.producers.reading import Pieces

TEXT = b"".join(b"%d\n" % number for number in range(2_000))


def stub_preadv(answer: Callable[[int, int], int]) -> Callable[..., int]:
    """One that gives as many bytes as ``answer(size, calls before)`` says, or raises."""
    calls = 0

    def preadv(file: int, buffers: list[bytearray], at: int, flags: int) -> int:
        nonlocal calls
        assert flags == os.RWF_NOWAIT
        calls += 1
        data = os.pread(file, answer(len(buffers[0]), calls - 1), at)
        buffers[0][: len(data)] = data
        return len(data)

    return preadv


def not_cached(_size: int, _calls: int) -> int:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def not_known(_size: int, _calls: int) -> int:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


@given(st.lists(st.sampled_from([None, 1, 7, 50, 1_000]), min_size=1), st.integers(1, 300))
def test_whichever_way_it_is_read_the_bytes_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, cached: list[int | None], piece: int
) -> None:
    def answer(size: int, calls: int) -> int:
        count = cached[calls % len(cached)]
        return not_cached(size, calls) if count is None else min(count, size)

    path = tmp_path_factory.mktemp("read") / "numbers"
    path.write_bytes(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "PIECE_BYTES", piece)
        patch.setattr(os, "preadv", stub_preadv(answer))
        pieces = Pieces(path, 4 * piece)
        with closing(pieces):
            read: list[bytes] = []
            while data := pieces.read_at_once() or pieces.read():
                read.append(data)
    assert b"".join(read) == TEXT
    assert max(map(len, read)) <= 4 * piece


@pytest.mark.parametrize("answer", [not_cached, not_known])
async def test_a_file_that_is_not_in_memory_is_read_in_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[[int, int], int]
) -> None:
    (tmp_path / "numbers").write_bytes(TEXT)
    threads: set[int] = set()
    pread = os.pread

    def watched_pread(*given: int) -> bytes:
        threads.add(threading.get_ident())
        return pread(*given)

    monkeypatch.setattr(reading, "PIECE_BYTES", 1_000)
    monkeypatch.setattr(os, "preadv", stub_preadv(answer))
    monkeypatch.setattr(os, "pread", watched_pread)
    numbers = ps.read_jsonl(tmp_path / "numbers", int)
    assert await numbers.to(ps.collect()).run() == list(range(2_000))
    assert threads
    assert threading.get_ident() not in threads


async def test_what_is_in_memory_is_read_without_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numbers").write_bytes(TEXT)
    in_threads = 0
    read = Pieces.read

    def counted_read(pieces: Pieces) -> bytes:
        nonlocal in_threads
        in_threads += 1
        return read(pieces)

    monkeypatch.setattr(reading, "PIECE_BYTES", 100)
    monkeypatch.setattr(os, "preadv", stub_preadv(lambda size, _: size))
    monkeypatch.setattr(Pieces, "read", counted_read)
    assert await ps.read_lines(tmp_path / "numbers").to(ps.count()).run() == 2_000
    assert in_threads == 2  # the first piece, with the opening, and the end


async def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(TEXT,))
    writer.start()
    assert await ps.read_lines(pipe).to(ps.count()).run() == 2_000
    writer.join()


async def test_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ps.StageError, match="IsADirectoryError"):
        await ps.read_lines(tmp_path).to(ps.drain()).run()
