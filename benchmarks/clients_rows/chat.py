"""What the server adds to a model's first word, and to every word of many chats at a time.

The first word: a model that speaks at once is asked in turn without a server, as a stream of this
process, and through one, by a socket that is open; pair by pair, the difference of the times from
asking to having the word. Target: at most 5 ms at the median.

Many chats: 200 answers at a time of 50 words a second each, for ten seconds, all of whose words
must come, in order. A word's delay runs from when it was due, by the model's own clock, to when its
client had it, so a server that can't keep up shows. Its share of a core is shown with it.

The server and the clients are processes of their own, on a core each.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil

from ..fan.processes import free_port, running
from ..figures import Figure, summary
from ..rows import Effort, Row

PAIRS = 300
CHATS = 200
RATE = 50.0
SECONDS = 10.0
MAX_FIRST_WORD_MS = 5.0

_HERE = Path(__file__).parent
_START_SECONDS = 30.0
_SERVER_CORE, _CLIENT_CORE = 0, 1


@dataclass(frozen=True)
class ManyChats:
    """Many chats at a time, each whole and in its order.

    Attributes:
        delays: from when each word was due to when its client had it, in milliseconds, sorted.
        busy: the share of a core that the server was busy for.
    """

    delays: list[float]
    busy: float


def measure(effort: Effort) -> list[Figure]:
    """Both, several times."""
    rounds = max(1, effort.rounds // 3)
    served, added = [], []
    for _ in range(rounds):
        pairs = first_words(max(50, round(PAIRS * effort.scale)))
        served.append(median(through for _, through in pairs))
        added.append(median(through - alone for alone, through in pairs))
    many = [many_chats(CHATS, RATE, max(2.0, SECONDS * effort.scale)) for _ in range(rounds)]
    target = f"at most {MAX_FIRST_WORD_MS:g}"
    return [
        summary("first word through the server, ms", served),
        summary("  more than without, ms", added, target, median(added) <= MAX_FIRST_WORD_MS),
        summary(f"{CHATS} chats: delay of a word, median, ms", [_cut(each, 50) for each in many]),
        summary("  p99, ms", [_cut(each, 99) for each in many]),
        summary("  the server's share of a core, %", [100 * each.busy for each in many]),
    ]


ROW = Row("What a chat costs on its way through the server", measure)


def first_words(pairs: int) -> list[tuple[float, float]]:
    """The times to the first word, without the server and through it, in milliseconds."""
    with _server() as (port, _):
        _client("first", port, 20)  # what is done at the first use is not what is measured
        taken = _client("first", port, pairs)
    return [(1000 * a, 1000 * b) for a, b in zip(taken["alone"], taken["served"], strict=True)]


def many_chats(chats: int, rate: float, seconds: float) -> ManyChats:
    """Read that many answers at a time of so many words a second each."""
    with _server() as (port, process):
        before, began = _cpu_seconds(process), time.monotonic()
        taken = _client("many", port, chats, rate, seconds)
        busy = (_cpu_seconds(process) - before) / (time.monotonic() - began)
    assert taken["whole"] == chats, "an answer is not whole"
    return ManyChats(sorted(1000 * delay for delay in taken["delays"]), busy)


def _cut(many: ManyChats, percent: int) -> float:
    return quantiles(many.delays, n=100)[percent - 1]


@contextmanager
def _server() -> Generator[tuple[int, subprocess.Popen[str]]]:
    port = free_port()
    options = ["--bind", f"127.0.0.1:{port}", "--log-level", "warning"]
    command = [
        sys.executable,
        "-m",
        "penstock.cli",
        "serve",
        str(_HERE / "chat_model.py"),
        *options,
    ]
    with running(command, _SERVER_CORE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        deadline = time.monotonic() + _START_SECONDS
        for line in process.stderr:
            if "serving on" in line:
                break
            assert time.monotonic() < deadline, "the server does not start"
        yield port, process


def _client(*arguments: Any) -> Any:
    command = [sys.executable, str(_HERE / "chat_client.py"), *map(str, arguments)]
    with running(command, _CLIENT_CORE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait() == 0, "the client failed"
    return json.loads(said)


def _cpu_seconds(process: subprocess.Popen[str]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)
