"""``penstock tail``."""

from __future__ import annotations

import sys
from typing import BinaryIO

import click
import trio

from penstock._install_hint import install_hint
from penstock.wire import JSON

from .failure import Failure, error_line


@click.command()
@click.argument("url")
@click.option("--after", metavar="CURSOR", help="Where to start: a cursor, earliest or latest.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Leave after N events.")
def tail(url: str, after: str | None, count: int | None) -> None:
    """Print the events of a topic as they come, a JSON message a line.

    Lost connections are taken up again where they broke off; what can't be given any more shows as
    a message of type gap. Ends with the topic's log, or after N events.

    \b
    Examples:
      penstock tail http://127.0.0.1:8000/topics/cpu
      penstock tail http://127.0.0.1:8000/topics/cpu --after earliest --count 10 | jq .data
    """
    try:
        from penstock.net import ndjson, resuming  # httpx is an extra, and slow to import
    except ImportError as error:
        raise Failure(error_line(f"tail needs more: {install_hint(error)}")) from error

    def say(loss: resuming.Loss) -> None:
        if loss.attempt == 1:
            place = f" after {loss.cursor}" if loss.cursor else ""
            click.echo(f"{url}: {loss.problem}; trying again{place}", err=True)

    async def read() -> None:
        printer = _Printer(count)
        with printer.scope:
            await ndjson.read_topic(printer.write, url, after=after, on_loss=say)

    try:
        trio.run(read)
    except resuming.Refused as refused:
        raise Failure(error_line(f"{url}: {refused}")) from refused


class _Printer:
    """Writes messages to standard output until it has seen enough events."""

    def __init__(self, events: int | None) -> None:
        self._events_left = events
        self._output: BinaryIO = sys.stdout.buffer
        self.scope = trio.CancelScope()

    async def write(self, message: dict[str, object]) -> None:
        # Written and flushed in place: one task runs here, and Ctrl-C interrupts a full pipe.
        self._output.write(JSON.encode(message) + b"\n")
        self._output.flush()
        if self._events_left is not None and message["type"] == "event":
            self._events_left -= 1
            if self._events_left == 0:
                self.scope.cancel("enough events")
                await trio.lowlevel.checkpoint()
