"""``penstock publish``."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import click
import trio

from penstock._errors import PipelineError
from penstock._install_hint import install_hint
from penstock.wire import JSON, Undecodable, encode_json

from .failure import Failure, error_line
from .headers import header_option, headers_of, token_option

if TYPE_CHECKING:
    from penstock.net import Acknowledgement, Loss, Publisher, Refused
    from penstock.net.publishing.encoding import Encoded

    _Encode = Callable[[object], Encoded]

_PIECE_BYTES = 64 * 1024
_MAX_LINE_BYTES = 16 << 20
_HINTS = {
    401: "give --token, or set PENSTOCK_TOKEN",
    403: "the token has no right to publish to this topic",
    404: "is it the topic's URL, like http://127.0.0.1:8000/topics/NAME?",
}


@click.command(short_help="Publish to a topic, what is given or line by line.")
@click.argument("url")
@click.argument("data", nargs=-1)
@click.option("--text", is_flag=True, help="Take DATA, or each line, as text, not as JSON.")
@click.option("--event", metavar="NAME", help="The name of the events.")
@token_option("Who is publishing.")
@header_option("A header of each request; may be given several times.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up where something isn't stored after so long. [default: try for ever]",
)
def publish(
    url: str,
    data: tuple[str, ...],
    *,
    text: bool,
    event: str | None,
    token: str | None,
    headers: tuple[str, ...],
    timeout: float | None,
) -> None:
    """Publish each DATA, a JSON value, to the topic at URL; without DATA, each line of the input.

    Prints what the server acknowledges, a JSON map for each request: how many events are stored,
    and the cursors of the first and the last. Lost connections are made again; each event is
    stored once, in order. Ends with status 1 where something could not be stored.

    \b
    Examples:
      penstock publish http://127.0.0.1:8000/topics/news '{"title": "Hello"}'
      penstock publish http://127.0.0.1:8000/topics/lines --text hello world
      tail -F app.log | penstock publish http://127.0.0.1:8000/topics/log --text
    """
    try:
        from penstock import net  # httpx is an extra, and slow to import
    except ImportError as error:
        raise Failure(error_line(f"publish needs more: {install_hint(error)}")) from error
    values = _Values(text=text)
    given = [values.of(each, f"DATA {n}") for n, each in enumerate(data, 1)] if data else None
    work = _Publishing(url, headers_of(headers, token), event, values, timeout)
    try:
        trio.run(work.run, given)
    except net.NotPublishable as error:
        raise Failure(error_line(error)) from error
    except net.Refused as refused:
        raise Failure(error_line(f"{url}: {_with_hint(refused)}")) from refused
    except PipelineError as error:
        raise Failure(error_line(error.problem), exit_code=2) from error


@dataclass(frozen=True, slots=True)
class _Values:
    """What a piece of text stands for."""

    text: bool

    def of(self, said: str | bytes, place: str) -> object:
        """The value. Raises `Failure`, which names the place."""
        if self.text:
            return self._text(said, place)
        try:
            return JSON.decode_value(said)
        except (Undecodable, UnicodeEncodeError) as fault:
            raise Failure(
                error_line(
                    f"{place} is no JSON: {fault}; text is written '\"like this\"', or give --text"
                )
            ) from fault

    def _text(self, said: str | bytes, place: str) -> str:
        try:
            decoded = said if isinstance(said, str) else said.decode()
            decoded.encode()  # what the shell gave may be bytes of another encoding, in disguise
        except UnicodeError as fault:
            raise Failure(error_line(f"{place} is no UTF-8: {fault}")) from fault
        return decoded


@dataclass(frozen=True, slots=True)
class _Publishing:
    """One run of the command."""

    url: str
    headers: dict[str, str]
    event: str | None
    values: _Values
    seconds: float | None

    async def run(self, given: list[object] | None) -> None:
        """Publish what is given, else the lines of the input."""
        from penstock.net import publisher
        from penstock.net.publishing.encoding import encoded

        encode = partial(encoded, event=self.event)
        async with publisher(
            self.url,
            headers=self.headers,
            overflow="block",
            on_loss=self._say_loss,
            on_acknowledged=_print,
        ) as topic:
            try:
                if given is None:
                    await self._publish_lines(topic, encode)
                else:
                    await self._finish(topic, list(map(encode, given)))
            finally:
                left = topic.statistics().waiting
                if left:
                    click.echo(f"{self.url}: {left:,} not known to be stored", err=True)

    async def _publish_lines(self, topic: Publisher, encode: _Encode) -> None:
        number = 0
        async with aclosing(_lines(sys.stdin.buffer)) as pieces:
            async for lines in pieces:
                ready: list[Encoded] = []
                try:
                    for line in lines:
                        number += 1
                        if line and not line.isspace():
                            ready.append(encode(self.values.of(line, f"line {number}")))
                except Failure:
                    await self._finish(topic, ready)  # what came before it, all the same
                    raise
                with self._limit():
                    await topic.hand_in_all(ready)
        await self._finish(topic, [])

    async def _finish(self, topic: Publisher, ready: Sequence[Encoded]) -> None:
        with self._limit():
            await topic.hand_in_all(ready)
            await topic.flush()

    @contextmanager
    def _limit(self) -> Generator[None, None, None]:
        if self.seconds is None:
            yield
            return
        with trio.move_on_after(self.seconds) as scope:
            yield
        if scope.cancelled_caught:
            raise Failure(error_line(f"{self.url}: not stored within {self.seconds:g} s"))

    def _say_loss(self, loss: Loss) -> None:
        if loss.attempt == 1:
            click.echo(f"{self.url}: {loss.problem}; trying again", err=True)


async def _lines(stream: BinaryIO) -> AsyncGenerator[list[bytes], None]:
    """The lines of a stream, as many as come at once. Ctrl-C leaves a read behind."""
    read: Callable[[int], bytes] = stream.read
    with suppress(OSError):
        # Not through a buffer, whose lock a read that is left behind would keep for good.
        read = partial(os.read, stream.fileno())
    rest = b""
    while True:
        piece = await trio.to_thread.run_sync(read, _PIECE_BYTES, abandon_on_cancel=True)
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _MAX_LINE_BYTES:
            raise Failure(error_line(f"the input has a line of over {_MAX_LINE_BYTES:,} bytes"))
        yield lines if piece else [rest]
        if not piece:
            return


def _print(stored: Acknowledgement) -> None:
    answer: dict[str, object] = {"count": stored.count, "first": stored.first, "last": stored.last}
    # Written and flushed in place, so that whoever reads it knows at once.
    click.echo(encode_json(answer))


def _with_hint(refused: Refused) -> str:
    hint = _HINTS.get(refused.status or 0)
    return f"{str(refused).rstrip('.')}; {hint}" if hint else str(refused)
