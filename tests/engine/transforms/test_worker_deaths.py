"""Worker processes that really die, and what they leave behind: nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator, Iterator
from functools import cache, partial
from multiprocessing import active_children
from pathlib import Path

import pytest
import trio

import penstock as ps

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="dies by POSIX signals")

BAD = 13
QUICK = ps.Backoff(0.01, 0.01, jitter=False)


def killed(item: int) -> int:
    if item == BAD:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def exiting(item: int) -> int:
    if item == BAD:
        os._exit(3)
    return item


def crashing(item: int) -> int:
    if item == BAD:
        ctypes.string_at(0)
    return item


def killed_once(mark: str, item: int) -> int:
    """Dies at its first call with the bad item; later ones find the mark."""
    if item == BAD:
        try:
            Path(mark).touch(exist_ok=False)
        except FileExistsError:
            return item
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@cache
def announce(fifo: str) -> int:
    """Tell the test of this process, once; what it is told through stays open until it is gone."""
    writer = os.open(fifo, os.O_WRONLY)
    os.write(writer, f"{os.getpid()}\n".encode())
    return writer


def announced(fifo: str, item: int) -> int:
    announce(fifo)
    return item


class Announcements:
    """The numbers of the worker processes that call `announce`, as they begin to work."""

    def __init__(self, folder: Path) -> None:
        self.fifo = str(folder / "workers")
        os.mkfifo(self.fifo)
        self._stream = trio.lowlevel.FdStream(os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK))
        self._own: int | None = os.open(self.fifo, os.O_WRONLY)  # so that it doesn't end before all
        self._rest = b""

    async def next(self) -> int | None:
        """The next worker's; None when all have gone, after `end_with_them`."""
        while b"\n" not in self._rest:
            more = await self._stream.receive_some()
            if not more:
                return None
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return int(line)

    def end_with_them(self) -> None:
        if self._own is not None:
            os.close(self._own)
            self._own = None

    async def aclose(self) -> None:
        self.end_with_them()
        await self._stream.aclose()


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncGenerator[Announcements]:
    announcements = Announcements(tmp_path)
    yield announcements
    await announcements.aclose()


DEATHS = {killed: "killed by SIGKILL", exiting: "exit code 3", crashing: "killed by SIGSEGV"}


@pytest.mark.parametrize("f", DEATHS)
async def test_the_error_names_the_item_that_it_was_on(f: object) -> None:
    assert callable(f)
    stream = ps.from_iterable(range(40)).map_blocking(f, 2, on="process")
    with trio.fail_after(120), pytest.raises(ps.StageError) as caught:
        await stream.to(ps.collect()).run()
    assert caught.value.item_repr == str(BAD)
    assert f"a worker process died on this item ({DEATHS[f]})" in str(caught.value)
    assert active_children() == []


async def test_the_others_go_on_where_it_is_skipped() -> None:
    stream = ps.from_iterable(range(40)).map_blocking(killed, 2, on="process", errors="skip")
    with trio.fail_after(120):
        async with stream.to(ps.collect()).open() as run:
            assert await run.result() == [n for n in range(40) if n != BAD]
    assert run.report().stages[1].skipped == 1
    assert active_children() == []


async def test_it_is_called_again_in_another_process(tmp_path: Path) -> None:
    f = partial(killed_once, str(tmp_path / "mark"))
    again = ps.retry(2, QUICK)
    stream = ps.from_iterable(range(40)).map_blocking(f, 2, on="process", errors=again)
    with trio.fail_after(120):
        async with stream.to(ps.collect()).open() as run:
            assert await run.result() == list(range(40))
    assert run.report().stages[1].retried == 1


async def test_its_dead_letter_tells_how_it_died() -> None:
    letters: list[ps.DeadLetter[int]] = []
    errors = ps.dead_letter(ps.for_each(letters.append))
    stream = ps.from_iterable(range(20)).map_blocking(exiting, 2, on="process", errors=errors)
    with trio.fail_after(120):
        assert await stream.to(ps.count()).run() == 19
    assert [letter.item for letter in letters] == [BAD]
    assert "exit code 3" in str(letters[0].error)


async def test_a_worker_killed_from_outside_is_replaced(workers: Announcements) -> None:
    replaced = trio.Event()

    async def kill_some() -> None:
        for _ in range(3):
            worker = await workers.next()
            assert worker is not None
            os.kill(worker, signal.SIGKILL)
        await workers.next()
        await workers.next()  # two have come in the place of the last
        replaced.set()

    def numbers() -> Iterator[int]:
        number = 0
        while not replaced.is_set():
            yield number
            number += 1
        yield from range(number, number + 100)
        made.append(number + 100)

    made: list[int] = []
    f = partial(announced, workers.fifo)
    again = ps.retry(5, QUICK)
    stream = ps.from_iterable(numbers()).map_blocking(f, 2, on="process", errors=again)
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_some)
            results = await stream.to(ps.collect()).run()
    assert results == list(range(made[0]))
    assert active_children() == []


SCRIPT = """
    import itertools, os, sys, threading, time
    from functools import cache, partial
    import penstock as ps

    @cache
    def announce(fifo):
        writer = os.open(fifo, os.O_WRONLY)
        os.write(writer, f"{os.getpid()}\\n".encode())
        return writer

    def work(fifo, item):
        announce(fifo)
        time.sleep(0.01)  # so that it is in the midst of a call when its interpreter ends
        return item

    def go():
        f = partial(work, sys.argv[1])
        ps.run(ps.from_iterable(itertools.count()).map_blocking(f, 2, on="process").to(ps.drain()))

    if __name__ == "__main__":
        if sys.argv[2] == "thread":
            threading.Thread(target=go, daemon=True).start()
            sys.stdin.read()
        else:
            go()
"""


async def gone(worker: int) -> None:
    """Wait until a process has ended."""
    try:
        ending = os.pidfd_open(worker)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(ending)
    finally:
        os.close(ending)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes not its own")
@pytest.mark.parametrize("how", ["killed", "interrupted", "thread"])
async def test_no_worker_outlives_its_interpreter(
    tmp_path: Path, workers: Announcements, how: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    process = await trio.lowlevel.open_process(
        [sys.executable, str(script), workers.fifo, how],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    try:
        with trio.fail_after(60):
            found = [await workers.next(), await workers.next()]
            workers.end_with_them()
            if how == "killed":
                process.kill()
            elif how == "interrupted":
                process.send_signal(signal.SIGINT)
            else:
                await process.stdin.aclose()
            await process.wait()
    finally:
        process.kill()
        await process.stdin.aclose()
        with trio.CancelScope(shield=True):
            await process.wait()
    with trio.fail_after(60):  # else a worker outlives the process that it worked for
        while (worker := await workers.next()) is not None:
            found.append(worker)
        for each in found:
            assert each is not None
            await gone(each)
