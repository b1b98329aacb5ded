"""``python -m tests.soak MINUTES``: see ``scripts/soak``. Exit code 1 for a violation."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import trio

from ..e2e.serving import SERVE, Reaper, ServerProcess, serving
from .soak import Load, Verdict, soak_server

CONFIG = Path(__file__).with_name("config.py")


def main() -> int:
    """Run a soak, and give the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--readers", type=int, default=Load().readers, help="at a time")
    options = parser.parse_args()
    command = (*SERVE, str(CONFIG), "--bind", "127.0.0.1:0")
    with tempfile.TemporaryDirectory() as folder, closing(Reaper()) as reaper:
        log = Path(folder) / "server.log"
        with serving(command, log, reaper) as server:
            verdict = trio.run(_soak, server, options.minutes * 60, Load(readers=options.readers))
    sys.stdout.write(f"{verdict}\n")
    return 1 if verdict.faults else 0


async def _soak(server: ServerProcess, seconds: float, load: Load) -> Verdict:
    return await soak_server(server, seconds, load=load)


if __name__ == "__main__":
    sys.exit(main())
