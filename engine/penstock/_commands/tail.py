"""``penstock tail``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, Literal

import click
import trio

from penstock._install_hint import install_hint
from penstock.wire import JSON, End

from .failure import Failure, error_line
from .headers import header_option, headers_of, token_option

if TYPE_CHECKING:
    from penstock.net import Event, Gap, Loss


@click.command()
@click.argument("url")
@click.option("--after", metavar="CURSOR", help="Where to start: a cursor, earliest or latest.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Leave after N events.")
@token_option("Who is asking.")
@header_option("A header of each request; may be given several times.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["ndjson", "sse", "msgpack"]),
    default="ndjson",
    help="What to ask the server for. Event streams of other servers can be read, too.",
)
def tail(
    url: str,
    after: str | None,
    count: int | None,
    token: str | None,
    headers: tuple[str, ...],
    format_: Literal["ndjson", "sse", "msgpack"],
) -> None:
    """Print the events of a topic, or of a job's run, as they come, a JSON message a line.

    Lost connections are taken up again where they broke off; what can't be given any more shows as
    a message of type gap. Ends with the topic's log, or after N events.

    \b
    Examples:
      penstock tail http://127.0.0.1:8000/topics/cpu
      penstock tail http://127.0.0.1:8000/topics/cpu --after earliest --count 10 | jq .data
    """
    try:
        # httpx is an extra, and slow to import.
        from penstock.net.http import parsed_url
        from penstock.net.losses import Refused
        from penstock.net.over_http.producers import Reading, read_log
    except ImportError as error:
        raise Failure(error_line(f"tail needs more: {install_hint(error)}")) from error

    def say(loss: Loss) -> None:
        if loss.attempt == 1:
            place = f" after {loss.cursor}" if loss.cursor else ""
            click.echo(f"{url}: {loss.problem}; trying again{place}", err=True)

    async def read() -> None:
        printer = _Printer(count)
        with printer.scope:
            reading = Reading(
                url=parsed_url(url),
                after=after,
                headers=headers_of(headers, token),
                format=format_,
                on_loss=say,
            )
            printer.write_end(await read_log(reading, printer.write))

    try:
        trio.run(read)
    except Refused as refused:
        raise Failure(error_line(f"{url}: {refused}")) from refused


class _Printer:
    """Writes messages to standard output until it has seen enough events."""

    def __init__(self, events: int | None) -> None:
        self._events_left = events
        self._output: BinaryIO = sys.stdout.buffer
        self.scope = trio.CancelScope()

    async def write(self, items: Sequence[Event | Gap]) -> None:
        # Written and flushed in place: one task runs here, and Ctrl-C interrupts a full pipe.
        try:
            for item in items:
                self._output.write(JSON.encode(item) + b"\n")
                if self._events_left is not None and item.__struct_config__.tag == "event":
                    self._events_left -= 1
                    if self._events_left == 0:
                        self.scope.cancel("enough events")
                        break
        finally:
            self._output.flush()
        await trio.lowlevel.checkpoint()

    def write_end(self, end: End | None) -> None:
        if end is not None:
            self._output.write(JSON.encode(end) + b"\n")
            self._output.flush()
