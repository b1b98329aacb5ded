"""Worker processes that really die, and what they leave behind: nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from functools import partial
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


def noted(folder: str, item: int) -> int:
    """Leaves its process's number behind, and takes a while."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(0.02)
    return item


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


async def test_a_worker_killed_from_outside_is_replaced(tmp_path: Path) -> None:
    f = partial(noted, str(tmp_path))
    again = ps.retry(5, QUICK)
    stream = ps.from_iterable(range(300)).map_blocking(f, 2, on="process", errors=again)

    async def kill_some() -> None:
        dead: set[str] = set()
        while len(dead) < 3:
            alive = [path.name for path in tmp_path.iterdir() if path.name not in dead]
            if alive:
                os.kill(int(alive[0]), signal.SIGKILL)
                dead.add(alive[0])
            await trio.sleep(0.05)

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_some)
            results = await stream.to(ps.collect()).run()
    assert Counter(results) == Counter(range(300))
    assert results == sorted(results)
    assert len(list(tmp_path.iterdir())) >= 4
    assert active_children() == []


SCRIPT = """
    import os, sys, threading, time
    from pathlib import Path
    import penstock as ps

    def work(folder, item):
        (Path(folder) / str(os.getpid())).touch()
        time.sleep(0.05)
        return item

    def go():
        from functools import partial
        stream = ps.from_iterable(range(10**6)).map_blocking(
            partial(work, sys.argv[1]), 2, on="process"
        )
        ps.run(stream.to(ps.drain()))

    if __name__ == "__main__":
        if sys.argv[2] == "thread":
            threading.Thread(target=go, daemon=True).start()
            while not any(Path(sys.argv[1]).iterdir()):
                time.sleep(0.02)
        else:
            go()
"""


def started(tmp_path: Path, how: str) -> tuple[subprocess.Popen[bytes], Path]:
    script, notes = tmp_path / "script.py", tmp_path / "notes"
    script.write_text(textwrap.dedent(SCRIPT))
    notes.mkdir()
    arguments = [sys.executable, str(script), str(notes), how]
    return subprocess.Popen(arguments, stderr=subprocess.DEVNULL), notes


def wait_until_gone(notes: Path) -> None:
    limit = time.monotonic() + 60
    for path in notes.iterdir():
        while Path(f"/proc/{path.name}").exists():
            assert time.monotonic() < limit, "a worker outlives the process that it worked for"
            time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
@pytest.mark.parametrize("how", ["killed", "interrupted", "thread"])
def test_no_worker_outlives_its_interpreter(tmp_path: Path, how: str) -> None:
    process, notes = started(tmp_path, how)
    try:
        limit = time.monotonic() + 60
        while not any(notes.iterdir()):
            assert time.monotonic() < limit
            time.sleep(0.02)
        if how == "killed":
            process.kill()
        elif how == "interrupted":
            process.send_signal(signal.SIGINT)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    wait_until_gone(notes)
