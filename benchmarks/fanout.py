"""Does one server keep up with many SSE readers of one busy topic, and what do they cost it?

    python benchmarks/fanout.py [--readers 500] [--rate 100] [--seconds 10] [--check] [--json]

A server process (``penstock serve``) runs a topic of `--rate` events of 100 bytes a second; another
process reads it through `--readers` connections. The two are pinned to different cores where the
system allows it. The figures answer:

- was every event delivered to every reader, in order, without a gap? Each one is looked at.
- how late did the events arrive? From when an event was due, so that a loop which is late with its
  events can't hide it, to right after the reader's ``recv``.
- how much of that is coalescing? A reader that is behind gets all that is there in one write.
- how long did it take until all were connected, while those before them were being served?
- how much of its core did the server use, and how much memory does a connection take?

The readers' own share of their core is printed, because readers that can't keep up measure
themselves, and so is what other processes took of the server's core, because the latencies of a
machine that is shared can't be compared. `--check` ends with status 1 where a target is missed.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
SERVE = "from penstock_server.commands import serve; serve()"
SERVING = re.compile(r"^penstock: serving on (http://(\S+))$", re.MULTILINE)
START_SECONDS = 30.0
WARM_UP_SECONDS = 3.0
MAX_P99_MS = 250.0
MIN_RATE_SHARE = 0.95
BUSY_READER = 0.8
"""Over this share of a core, the readers' own delay may show in the latencies."""


@dataclass(frozen=True)
class Load:
    """What is asked of the server: connections, events a second, and for how many seconds."""

    readers: int
    rate: float
    seconds: float


@dataclass(frozen=True)
class ServerCost:
    """What the load took of the server: CPU as a share of one core, memory in bytes.

    `others_share` is what other processes used of the server's core; None where it isn't known.
    """

    cpu_share: float
    others_share: float | None
    rss_before: int
    rss_after: int


@dataclass(frozen=True)
class Target:
    """A figure and whether it is good enough; `wanted` is "" where nothing is asked of it."""

    name: str
    measured: str
    wanted: str = ""
    met: bool = True


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Generator[subprocess.Popen[str]]:
    """A process that is over when the block is left, whichever way."""
    process = subprocess.Popen(command, text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def cores() -> tuple[int, int] | None:
    """A core for the server and another for the readers; None where there is no choice."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else None


def pin(process: subprocess.Popen[str], core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(process.pid, {core})


def allow_descriptors(wanted: int) -> None:
    """Raise the limit of open files, which the processes inherit, as far as it may be raised."""
    with contextlib.suppress(ImportError):  # only POSIX has such a limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft < highest:
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))


@contextlib.contextmanager
def serving(load: Load, core: int | None) -> Generator[tuple[psutil.Process, str]]:
    """A server of `fanout_topic.py`, ready; gives its process and HOST:PORT."""
    config = str(HERE / "fanout_topic.py")
    command = [sys.executable, "-c", SERVE, config, "--bind", "127.0.0.1:0"]
    environment = {**os.environ, "FANOUT_RATE": str(load.rate)}
    with (
        tempfile.TemporaryFile("w+") as log,
        running(command, stderr=log, env=environment) as process,
    ):
        pin(process, core)
        deadline = time.monotonic() + START_SECONDS
        while (found := SERVING.search(_text(log))) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server didn't start:\n{_text(log)}")
            time.sleep(0.05)
        # The first request of all has costs that are no connection's.
        with urllib.request.urlopen(f"{found[1]}/health/ready", timeout=10) as answer:
            answer.read()
        time.sleep(1)
        yield psutil.Process(process.pid), found[2]


def _text(log: Any) -> str:
    """The log so far. Read by position: the server writes on through the same file offset."""
    return os.pread(log.fileno(), 65_536, 0).decode(errors="replace")


def measure(load: Load) -> tuple[dict[str, Any], ServerCost]:
    """Run server and readers; gives the readers' result and the server's cost."""
    server_core, reader_core = cores() or (None, None)
    with serving(load, server_core) as (server, address):
        rss_before = server.memory_info().rss
        script = str(HERE / "sse_readers.py")
        numbers = [str(load.readers), str(load.seconds), str(WARM_UP_SECONDS)]
        command = [sys.executable, script, address, "/topics/ticks", *numbers]
        with running(command, stdout=subprocess.PIPE) as readers:
            pin(readers, reader_core)
            window = _line(readers)
            _sleep_until(window["begin"])
            rss_after = server.memory_info().rss
            used, busy = _used(server), _busy(server_core)
            _sleep_until(window["end"])
            cpu = (_used(server) - used) / load.seconds
            core_busy = _busy(server_core)
            others = None
            if busy is not None and core_busy is not None:
                others = max(0.0, (core_busy - busy) / load.seconds - cpu)
            return _line(readers), ServerCost(cpu, others, rss_before, rss_after)


def _line(readers: subprocess.Popen[str]) -> dict[str, Any]:
    assert readers.stdout is not None
    line = readers.stdout.readline()
    if not line:
        raise SystemExit("the readers gave up; what they said is above")
    result: dict[str, Any] = json.loads(line)
    return result


def _sleep_until(moment: int) -> None:
    time.sleep(max(0.0, (moment - time.monotonic_ns()) / 1e9))


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy(core: int | None) -> float | None:
    """Seconds for which a core has worked for anybody."""
    if core is None:
        return None
    times = psutil.cpu_times(percpu=True)[core]
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


def targets(load: Load, result: dict[str, Any], cost: ServerCost) -> list[Target]:
    """The figures in the order in which they are printed, with the targets of some."""
    rate = result["published"] / load.seconds
    enough = load.rate * MIN_RATE_SHARE
    expected = result["published"] * load.readers
    in_order = result["disordered"] == result["gaps"] == result["closed"] == 0
    disorder = f"{result['disordered']} holes, {result['gaps']} gaps, {result['closed']} closed"
    latency = result["latency_ms"]
    p99_met = 0 < latency["p99"] < MAX_P99_MS
    others = "unknown" if cost.others_share is None else f"{cost.others_share:.0%}"
    mebibytes = f"{cost.rss_before / 2**20:.1f}, {cost.rss_after / 2**20:.1f} MiB"
    each = (cost.rss_after - cost.rss_before) / 1024 / load.readers
    busy = result["readers_cpu_share"]
    verdict = "keeps up" if busy < BUSY_READER else "MAY BE THE BOTTLENECK"
    return [
        Target("connecting all readers", f"{result['connect_seconds']:.1f} s"),
        Target("events a second", f"{rate:.1f}", f"{enough:g} or more", rate >= enough),
        Target(
            "delivered of expected",
            f"{result['delivered']} of {expected}",
            "all",
            0 < expected == result["delivered"],
        ),
        Target("in order", "yes" if in_order else f"no: {disorder}", "yes, no gap", in_order),
        Target("latency p50", f"{latency['p50']:.1f} ms"),
        Target("latency p99", f"{latency['p99']:.1f} ms", f"under {MAX_P99_MS:g} ms", p99_met),
        Target("latency max", f"{latency['max']:.1f} ms"),
        Target("events a write", f"{result['delivered'] / max(1, result['writes']):.2f}"),
        Target("server CPU", f"{cost.cpu_share:.0%} of a core"),
        Target("server RSS, before and after connecting", mebibytes),
        Target("server memory a connection", f"{each:.1f} KiB"),
        Target("other work on the server's core", others),
        Target("readers' CPU", f"{busy:.0%} of a core: {verdict}"),
    ]


def print_table(load: Load, rows: list[Target]) -> None:
    pinned = cores()
    where = f"pinned to cores {pinned[0]} and {pinned[1]}" if pinned else "not pinned"
    print(f"{load.readers} SSE readers, {load.rate:g} events/s of 100 bytes, {load.seconds:g} s")
    print(f"server and readers {where}; load average {os.getloadavg()[0]:.1f}\n")
    print(f"{'':40}{'measured':>24}  target")
    for row in rows:
        verdict = "" if not row.wanted else "pass" if row.met else "MISS"
        print(f"{row.name:40}{row.measured:>24}  {row.wanted:<16}{verdict}".rstrip())


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--readers", type=int, default=500)
    parser.add_argument("--rate", type=float, default=100.0, help="events a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured, after a warm-up")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--check", action="store_true", help="status 1 where a target is missed")
    return parser.parse_args()


def _leave(number: int, frame: object) -> None:
    """As an exception a signal leaves through every `finally`: no process stays behind."""
    sys.exit(128 + number)


def main() -> None:
    options = parse_arguments()
    signal.signal(signal.SIGTERM, _leave)
    allow_descriptors(options.readers + 200)
    load = Load(options.readers, options.rate, options.seconds)
    result, cost = measure(load)
    rows = targets(load, result, cost)
    passed = all(row.met for row in rows)
    if options.json:
        print(json.dumps({**asdict(load), **result, "server": asdict(cost), "passed": passed}))
    else:
        print_table(load, rows)
    if options.check and not passed:
        sys.exit(1)


if __name__ == "__main__":
    main()
