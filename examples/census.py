"""A long task with progress: the census of the standard library as a job.

    scripts/penstock serve examples/census.py

Open http://127.0.0.1:8000/census and start one. Or follow one in a terminal:

    curl -N http://127.0.0.1:8000/jobs/census -H 'Accept: text/event-stream' \
        -H 'Content-Type: application/json' -d '{"workers": 2}'

What to look at: reload the page in mid-way, or stop your network: the run goes on (``detach=60``
gives you a minute to come back), and the page reads its log from the beginning or from where it
was. Cancel: the worker processes end with the run. With ``"strict": true`` the first file that is
no Python fails the run, and the reader is told so.

The counting is that of ``stdlib_census.py`` beside this file: a config file imports its neighbours.
A worker process imports the module of the function it runs, so that one is best without a server.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import trio
from msgspec import Meta
from quart import Response
from stdlib_census import ROOT, Census, count_file, count_if_python, source_files

import penstock as ps
from penstock_server import Event, Server

PROGRESS_EVERY = 0.1

server = Server(title="Census of the standard library")


@dataclass(frozen=True)
class Options:
    """How to count.

    Attributes:
        workers: how many processes parse files.
        strict: fail at the first file that can't be parsed, rather than leave it out.
    """

    workers: Annotated[int, Meta(ge=1, le=8)] = 2
    strict: bool = False


@server.job("census", accepts=Options, detach=60, keep=600, max_running=2)
def census(options: Options) -> ps.Stream[Event]:
    """Events ``progress`` while it counts, then one ``result``."""
    count = count_file if options.strict else count_if_python
    counted = source_files(ROOT).map_blocking(count, options.workers, on="process")
    return counted.via(report)


@ps.transform
async def report(receive: ps.Receiver[Census | None], send: ps.Sender[Event]) -> None:
    """Say how far it is, at most ten times a second; and what there is, at the end."""
    files = await source_files(ROOT).to(ps.count()).run()
    done = left_out = 0
    next_report = trio.current_time()
    packages: dict[str, Census] = {}
    async for file in receive:
        done += 1
        if file is None:
            left_out += 1
        else:
            packages[file.package] = packages.get(file.package, Census(file.package)) + file
        if done == files or trio.current_time() >= next_report:
            await send(Event({"done": done, "files": files, "left_out": left_out}, "progress"))
            next_report = trio.current_time() + PROGRESS_EVERY
    await send(Event(result_of(packages), "result"))


def result_of(packages: Mapping[str, Census]) -> list[dict[str, str | int]]:
    """The packages, the largest first."""
    largest_first = sorted(packages.values(), key=lambda each: each.lines, reverse=True)
    return [asdict(each) for each in largest_first]


server.app.static_folder = Path(__file__).parent / "pages"


@server.app.get("/census")
async def page() -> Response:
    """The page; Quart serves its folder under /static."""
    return await server.app.send_static_file("census.html")
