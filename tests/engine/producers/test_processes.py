"""Real programs: small ones in Python."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock as ps
from penstock.producers.processes import ProcessFailed


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-S", "-c", code]


async def lines_of(code: str, **options: Any) -> list[str]:
    return await ps.subprocess_lines(python(code), **options).to(ps.collect()).run()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_lines_of_standard_output() -> None:
    assert await lines_of("print('one\\r\\ntwo\\n\\nfünf', end='')") == ["one", "two", "", "fünf"]
    assert await lines_of("") == []


async def test_it_has_nothing_to_read() -> None:
    assert await lines_of("import sys; print(repr(sys.stdin.read()))") == ["''"]


async def test_its_folder_and_its_environment(tmp_path: Path) -> None:
    code = "import os; print(os.getcwd()); print(os.environ.get('A'), os.environ.get('PENSTOCK_B'))"
    os.environ["PENSTOCK_B"] = "b"
    try:
        real = str(tmp_path.resolve())
        assert await lines_of(code, cwd=tmp_path, env={"A": "1"}) == [real, "1 None"]
        assert (await lines_of(code))[1] == "None b"
    finally:
        del os.environ["PENSTOCK_B"]


async def test_another_status_than_0_is_an_error_that_tells_what_it_said() -> None:
    code = "import sys; print('out'); sys.stderr.write('x' * 200_000 + 'the end'); sys.exit(3)"
    seen: list[str] = []
    with pytest.raises(ps.StageError, match=r"ended with status 3: …x+the end") as caught:
        await ps.subprocess_lines(python(code)).tap(seen.append).to(ps.drain()).run()
    assert seen == ["out"]
    assert caught.value.stage.startswith("subprocess_lines(python")
    cause = caught.value.cause
    assert isinstance(cause, ProcessFailed)
    assert cause.returncode == 3
    assert cause.stderr == "x" * (65536 - 7) + "the end"
    assert len(str(cause)) < 3000
    assert await lines_of(code, check=False) == ["out"]


async def test_a_signal_is_told_by_its_name() -> None:
    with pytest.raises(ps.StageError, match="was ended by SIGKILL"):
        await lines_of("import os; os.kill(os.getpid(), 9)")


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(ps.StageError, match=r"subprocess_lines\(no-such\) failed: FileNotFoundErr"):
        await ps.subprocess_lines(["/no-such"]).to(ps.drain()).run()


async def test_bad_text_and_long_lines_are_told_by_their_number() -> None:
    code = "import os; os.write(1, b'one\\n\\xff\\n' + b'x' * 100 + b'\\n')"
    with pytest.raises(ps.StageError, match=r"decode failed on item b'\\xff\\n': .*python.*:2: "):
        await lines_of(code)
    assert await lines_of(code, errors="skip") == ["one", "x" * 100]
    with pytest.raises(ps.StageError, match=r"LineTooLong: .*python.*:3: a line of over 99 bytes"):
        await lines_of(code, max_line_bytes=99)


async def test_one_that_wants_no_more_ends_it() -> None:
    code = "import os\nprint(os.getpid())\nwhile True: print('more')"
    pid, *more = await ps.subprocess_lines(python(code)).take(1000).to(ps.collect()).run()
    assert more == ["more"] * 999
    assert not is_running(int(pid))


async def test_a_slow_reader_holds_it_up() -> None:
    code = "import os\nfor n in range(100): os.write(1, b'x' * 65535 + b'\\n'); print(n)"

    async def wait(line: str) -> None:
        await trio.sleep_forever()

    async with ps.subprocess_lines(python(code)).to(ps.for_each(wait)).open() as run:
        while not run.stats().stages[-1].items_in:
            await trio.lowlevel.checkpoint()
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert run.stats().stages[0].items_out < 100
        await run.stop(0)


async def test_stopped_its_last_lines_are_not_waited_for() -> None:
    code = "import os, time\nprint(os.getpid())\ntime.sleep(1000)"
    async with ps.subprocess_lines(python(code)).to(ps.collect()).open() as run:
        while not run.stats().stages[-1].items_in:
            await trio.lowlevel.checkpoint()
        await run.stop()
        (pid,) = await run.result()
    assert not is_running(int(pid))


async def test_cancelled_it_is_asked_to_end_and_then_made_to() -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))\n"
    code = deaf + "import os, time\nprint(os.getpid())\nwhile True: time.sleep(1000)"
    pids: list[str] = []
    with trio.CancelScope() as scope:
        stream = ps.subprocess_lines(python(code), grace=0.2).tap(pids.append)
        await stream.tap(lambda _: scope.cancel()).to(ps.drain()).run()
    assert scope.cancelled_caught
    assert not is_running(int(pids[0]))


async def test_a_polite_program_may_tidy_up_first(tmp_path: Path) -> None:
    tidy = "def end(*_): open('tidy', 'w').close(); sys.exit()\n"
    code = f"import signal, sys, time\n{tidy}signal.signal(signal.SIGTERM, end)\nprint(1)\n"
    stream = ps.subprocess_lines(python(code + "time.sleep(1000)"), cwd=tmp_path, grace=60)
    assert await stream.take(1).to(ps.collect()).run() == ["1"]
    assert (tmp_path / "tidy").exists()


async def test_what_it_started_may_keep_its_standard_error(
    autojump_clock: MockClock,
) -> None:
    start = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'], stdout=-3)"
    code = f"import subprocess, sys\nchild = {start}\nprint(child.pid)\nsys.exit('over')"
    pids: list[str] = []
    try:
        with pytest.raises(ps.StageError, match="ended with status 1: over"):
            await ps.subprocess_lines(python(code)).tap(pids.append).to(ps.drain()).run()
    finally:
        os.kill(int(pids[0]), signal.SIGKILL)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"cmd": "ls -l"}, 'cmd must be a list, the program and its arguments: ["ls", "-l"]'),
        ({"cmd": b"ls"}, "cmd must be a list"),
        ({"cmd": 3}, "cmd must be a list"),
        ({"cmd": []}, "cmd is empty"),
        ({"cmd": ["ls", 3]}, "cmd must be of texts or paths, got 3"),
        ({"grace": -1}, "grace must be a number of seconds"),
        ({"max_line_bytes": 0}, "max_line_bytes must be a whole number"),
        ({"errors": ps.retry(2)}, "errors can't be retry(…)"),
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ps.PipelineError) as caught:
        ps.subprocess_lines(**{"cmd": ["ls"], **wrong})
    assert str(caught.value).startswith(f"subprocess_lines: {problem}")
