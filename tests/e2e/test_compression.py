"""Compressed streams over real sockets: each event at once, by any client, whole at the end."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Any

import brotli  # type: ignore[import-untyped] # it has no types
import httpx
import msgspec
import pytest
import zstandard

from penstock.wire import Cursor, ServerSentEvent, SSEDecoder

from .conftest import Launch
from .serving import CONFIGS, SERVE, ServerProcess, eventually

CODINGS = ["gzip", "zstd", "br"]


@pytest.fixture(scope="module", params=["server", "ordinary"])
def server(launch: Launch, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        config = f"{CONFIGS / 'policies.py'}:{request.param}"
        yield launch(stack, (*SERVE, config, "--bind", "127.0.0.1:0"))


def _ungzip(body: bytes) -> bytes:
    return gzip.decompress(body)  # raises where the checksum or the length is wrong


def _unzstd(body: bytes) -> bytes:
    decompressor = zstandard.ZstdDecompressor()
    return decompressor.stream_reader(io.BytesIO(body), read_across_frames=True).read()


def _unbrotli(body: bytes) -> bytes:
    decompressor: Any = brotli.Decompressor()
    plain = bytes(decompressor.process(body))
    assert decompressor.is_finished()
    return plain


WHOLE: dict[str, Callable[[bytes], bytes]] = {"gzip": _ungzip, "zstd": _unzstd, "br": _unbrotli}


@contextmanager
def opened(server: ServerProcess, target: str, coding: str | None) -> Generator[httpx.Response]:
    headers = {"accept-encoding": "identity" if coding is None else coding}
    with server.client.stream("GET", f"{server.url}/topics/{target}", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers.get("content-encoding") == coding
        assert "accept-encoding" in response.headers["vary"].lower()
        yield response


class Events:
    """The events of a compressed stream, decoded by httpx."""

    def __init__(self, response: httpx.Response) -> None:
        self._pieces = response.iter_bytes()
        self._decoder = SSEDecoder()
        self._due: list[ServerSentEvent] = []
        self.plain = b""

    def pull(self) -> None:
        piece = next(self._pieces)
        self.plain += piece
        self._due += self._decoder.feed(piece)

    def next(self) -> ServerSentEvent:
        while not self._due:
            self.pull()
        return self._due.pop(0)


@pytest.mark.parametrize("coding", CODINGS)
def test_each_event_comes_at_once_and_signs_of_life_do(server: ServerProcess, coding: str) -> None:
    with opened(server, "said", coding) as response:
        events = Events(response)
        events.pull()
        slowest = 0.0
        for number in range(15):
            started = time.monotonic()
            assert server.post("said", {"number": number}).status_code == 201
            assert events.next().data == f'{{"number":{number}}}'
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < 0.4, "less than until the next sign of life, which would push it out"
        assert b": keepalive" not in events.plain
        while b": keepalive" not in events.plain:
            events.pull()
        server.post("said", "after it")
        assert events.next().data == '"after it"'


@pytest.mark.parametrize("coding", CODINGS)
def test_the_body_is_whole_for_who_reads_all_and_who_joins(
    server: ServerProcess, coding: str
) -> None:
    """Each has a body of its own, of the same shared blocks; the log ends under them."""
    topic = f"short.{coding}-{time.monotonic_ns()}"
    bodies: dict[str, bytes] = {}

    def read(name: str, with_coding: str | None, after: str = "latest") -> None:
        target = f"{topic}?format=ndjson&after={after}"
        with opened(server, target, with_coding) as response:
            bodies[name] = b"".join(response.iter_raw())

    threads = [Thread(target=read, args=(name, coding)) for name in ("one", "two")]
    threads += [Thread(target=read, args=("plain", None, "earliest"))]
    for thread in threads:
        thread.start()
    eventually(lambda: server.stats()["topics"].get(topic, {}).get("last", 0) >= 6)
    threads.append(Thread(target=read, args=("late", coding)))
    threads[-1].start()
    for thread in threads:
        thread.join()
    plain = {name: WHOLE[coding](body) for name, body in bodies.items() if name != "plain"}
    messages = {name: _messages(body) for name, body in plain.items()}
    whole = _messages(bodies["plain"])
    assert whole[-1]["type"] == "end"
    for subscribed, *rest in messages.values():
        assert subscribed["type"] == "subscribed"
        assert len(rest) > 5
        assert rest == whole[-len(rest) :]
    assert len(messages["late"]) < len(messages["one"])


def _messages(body: bytes) -> list[dict[str, Any]]:
    lines = [msgspec.json.decode(line) for line in body.splitlines()]
    return [line for line in lines if line["type"] != "keepalive"]


@pytest.mark.parametrize("format_", ["sse", "ndjson", "msgpack"])
@pytest.mark.parametrize("coding", CODINGS)
def test_every_format_is_compressed(server: ServerProcess, format_: str, coding: str) -> None:
    with opened(server, f"brief?after=earliest&format={format_}", None) as response:
        plain = response.read()
    with opened(server, f"brief?after=earliest&format={format_}", coding) as response:
        body = b"".join(response.iter_raw())
    assert WHOLE[coding](body) == plain
    assert b"end" in plain


@pytest.mark.parametrize("coding", CODINGS)
def test_a_page_is_compressed(server: ServerProcess, coding: str) -> None:
    with opened(server, "brief?after=earliest&format=json", None) as response:
        plain = response.read()
    with opened(server, "brief?after=earliest&format=json", coding) as response:
        body = b"".join(response.iter_raw())
        assert int(response.headers["content-length"]) == len(body)
    assert WHOLE[coding](body) == plain


def test_a_long_page_is_compressed_well(server: ServerProcess) -> None:
    eventually(lambda: server.stats()["topics"]["firehose"]["last"] > 30)
    target = "firehose?after=earliest&format=json"
    with opened(server, target, "gzip") as response:
        assert int(response.headers["content-length"]) < 20_000
        page = response.read()
    assert len(page) > 500_000


def test_backlog_and_what_follows_are_one_body(server: ServerProcess) -> None:
    """From a task that catches up into a lane, and on."""
    for coding in CODINGS:
        before = int(server.stats()["topics"]["ticks"]["last"])
        seen: list[int] = []
        with opened(server, "ticks?after=earliest", coding) as response:
            events = Events(response)
            while not seen or seen[-1] < before + 15:
                seen.append(Cursor.parse(events.next().id).offset)
        assert seen == list(range(seen[0], seen[0] + len(seen)))


def test_other_clients_read_it(server: ServerProcess) -> None:
    """httpx's own choice of codings, Python's zlib piece by piece, and curl where it is there."""
    target = "brief?after=earliest"
    with opened(server, target, None) as response:
        plain = response.read()
    assert server.client.get(f"{server.url}/topics/{target}").content == plain
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    with opened(server, target, "gzip") as response:
        assert b"".join(decoder.decompress(piece) for piece in response.iter_raw(7)) == plain
    assert decoder.eof
    curl = shutil.which("curl")
    if curl is not None:
        command = (curl, "--compressed", "-sSN", "--max-time", "10")
        done = subprocess.run(
            (*command, f"{server.url}/topics/{target}"), capture_output=True, check=False
        )
        assert (done.returncode, done.stderr, done.stdout) == (0, b"", plain)


def test_a_head_has_the_headers_and_no_body(server: ServerProcess) -> None:
    for format_ in ("sse", "json"):
        url = f"{server.url}/topics/brief?after=earliest&format={format_}"
        response = server.client.head(url, headers={"accept-encoding": "gzip"})
        assert response.status_code == 200
        assert response.headers["content-encoding"] == "gzip"
        assert response.content == b""
