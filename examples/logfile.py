"""A log file followed as it grows, its lines counted by level each second: a live chart.

    scripts/penstock serve examples/logfile.py
    LOGFILE=/var/log/nginx/access.log scripts/penstock serve examples/logfile.py

Open http://127.0.0.1:8000/logfile. Without LOGFILE a demo writes a log of its own, and rotates it
now and then, so that there is something to see. Lines count by the status of an access log
(``5xx``), by a word such as ERROR, or as ``other``.

What to look at: two topics, one derived from the other. ``lines`` is what is added to the file, and
``levels`` counts it; the file is read once, however many pages there are.
"""

import logging
import os
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import trio
from quart import Response

import penstock as ps
from penstock_server import Server

DEMO = Path(tempfile.gettempdir()) / f"penstock-demo-{os.getpid()}.log"
LOGFILE = Path(os.environ.get("LOGFILE") or DEMO)

server = Server(title="Log file")


@server.topic("lines", retain=1000)
def lines() -> ps.Stream[str]:
    """What is added to the file, line by line; it needn't be there yet."""
    return ps.follow(LOGFILE, errors="skip")


@server.topic("levels", retain=600)
def levels() -> ps.Stream[dict[str, Any]]:
    """How many lines of each level there were in each second."""
    found = lines.values().map(level_of)
    return found.merge(ps.every(1)).via(count_each_second)


_STATUS = re.compile(r'" ([1-5])\d\d ')
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")


def level_of(line: str) -> str:
    """What a line counts as."""
    if status := _STATUS.search(line):
        return f"{status[1]}xx"
    level = _LEVEL.search(line)
    return level[1] if level else "other"


@ps.transform
async def count_each_second(
    receive: ps.Receiver[str | int], send: ps.Sender[dict[str, Any]]
) -> None:
    """Count levels, which are text, between ticks, which are numbers."""
    counts = Counter[str]()
    async for item in receive:
        if isinstance(item, str):
            counts[item] += 1
        else:
            await send({"time": int(time.time()), "counts": dict(counts)})
            counts.clear()


@server.lifespan
async def demo() -> AsyncIterator[None]:
    """Write a log for as long as the server runs, where none was named."""
    async with trio.open_nursery() as nursery:
        if LOGFILE == DEMO:
            nursery.start_soon(write_demo)
        yield
        nursery.cancel_scope.cancel("the server ends")


async def write_demo() -> None:
    """Lines at a changing pace; with some errors, which come in bursts."""
    handler = RotatingFileHandler(DEMO, maxBytes=50_000, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.Logger("demo")
    log.addHandler(handler)
    load, trouble = 20.0, False
    try:
        while True:
            await trio.sleep(random.expovariate(load))
            load = min(max(load * random.uniform(0.9, 1.11), 5.0), 60.0)
            trouble = random.random() < (0.95 if trouble else 0.01)
            weights = (10, 50, 20, 20) if trouble else (15, 80, 4, 1)
            level = random.choices((10, 20, 30, 40), weights)[0]
            log.log(level, "GET /items/%d took %d ms", random.randrange(1000), 500 / load)
    finally:
        handler.close()
        for file in DEMO.parent.glob(f"{DEMO.name}*"):
            file.unlink()


server.app.static_folder = Path(__file__).parent / "pages"


@server.app.get("/logfile")
async def page() -> Response:
    """The page; Quart serves its folder under /static."""
    return await server.app.send_static_file("logfile.html")
