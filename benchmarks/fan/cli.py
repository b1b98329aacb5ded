"""The command line of the fan-out benchmark."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from .client import build
from .contenders import PEERS
from .machine import allow_descriptors, cores, description
from .report import PAGE, as_text, write_page
from .results import RowResult
from .rows import Settings, event_streams, one_stalled, ordinary_lane, saturation, web_sockets
from .special_rows import idle, publishing, resuming

ROWS: dict[str, Callable[[Settings], RowResult]] = {
    "sse": event_streams,
    "websocket": web_sockets,
    "flood": saturation,
    "tls": ordinary_lane,
    "idle": idle,
    "stalled": one_stalled,
    "resume": resuming,
    "publish": publishing,
}
FULL = Settings(readers=1000, seconds=8.0, rounds=3, warm_up=2.0)
QUICK = Settings(readers=1000, seconds=2.0, rounds=2, warm_up=1.0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="fanout", description="Fan-out: penstock and its peers, pair by pair in one run."
    )
    parser.add_argument(
        "--only", action="append", choices=[*ROWS], help="this row; may be given again"
    )
    parser.add_argument("--readers", type=int, help="connections of the rows with 1,000")
    parser.add_argument("--seconds", type=float, help="measured in each run")
    parser.add_argument("--rounds", type=int, help="how often the servers of a row run in turn")
    parser.add_argument("--quick", action="store_true", help="under five minutes for all rows")
    parser.add_argument("--check", action="store_true", help="status 1 where a target is missed")
    parser.add_argument("--write-results", action="store_true", help=f"write {PAGE.name} anew")
    parser.add_argument("--no-install", action="store_true", help="only the peers that are there")
    return parser.parse_args()


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that the options ask for."""
    usual = QUICK if options.quick else FULL
    return Settings(
        readers=options.readers or usual.readers,
        seconds=options.seconds or usual.seconds,
        rounds=options.rounds or usual.rounds,
        warm_up=usual.warm_up,
    )


def _leave(number: int, frame: object) -> None:
    """As an exception a signal leaves through every `finally`: no process stays behind."""
    sys.exit(128 + number)


def main() -> None:
    """Run the rows asked for and print their tables."""
    options = parse_arguments()
    signal.signal(signal.SIGTERM, _leave)
    if not options.no_install:
        subprocess.run([str(PEERS / "install")], check=True)
    build()
    allow_descriptors()
    pinned = cores()
    if pinned is not None:
        os.sched_setaffinity(0, {pinned[1]})
    print("\n".join(description()), flush=True)
    results: list[RowResult] = []
    for name in options.only or ROWS:
        result = ROWS[name](settings_of(options))
        results.append(result)
        print(as_text(result), flush=True)
        if options.write_results:  # after each row: what is measured is kept if a later one fails
            write_page(results, list(ROWS))
    if options.check and not all(result.passed for result in results):
        sys.exit(1)
