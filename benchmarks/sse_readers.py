"""Many SSE readers in one process, as cheap as Python allows: the load that `fanout.py` measures.

    python benchmarks/sse_readers.py HOST:PORT PATH READERS SECONDS WARM_UP

It connects, waits until every reader has its priming id, and prints one line of JSON that says when
(on the monotonic clock, which all processes of a machine share) the measured time begins and ends.
Then it reads until each reader has an event that was due after the end, and prints the result as a
second line. The events are JSON objects; their ``due`` is when each was due, in nanoseconds on that
clock.

Every event is checked: a reader's ids must count on from its priming id without a hole. A latency
ends right after the ``recv`` that brought it; a round of the loop first receives from all
sockets that are ready, then parses, so that parsing delays no time stamp of the same round.
"""

import json
import selectors
import socket
import sys
import time
from array import array
from typing import Any, NamedTuple

CONNECT_SECONDS = 120.0
DRAIN_SECONDS = 5.0
"""How long after the end the last events may take to arrive; then they count as lost."""
KNOWN_BLOCKS = 10_000
NANOSECONDS = 1_000_000_000


class Block(NamedTuple):
    """An SSE block: `offset` is -1 where it has no id, `due` 0 where it is no plain event."""

    offset: int
    due: int
    name: str


def parse_block(block: bytes) -> Block:
    """Read a block (WHATWG HTML, section 9.2.6, as far as penstock's own blocks need)."""
    parts = [line.partition(b": ") for line in block.split(b"\n")]
    fields = {name: value for name, _, value in parts}
    event = fields.get(b"event", b"").decode()
    offset = int(fields[b"id"].partition(b"-")[2], 36) if b"id" in fields else -1
    data = fields.get(b"data")
    return Block(offset, json.loads(data)["due"] if data is not None and not event else 0, event)


class Reader:
    """One connection: bytes that are not whole yet, and the offset it has read up to."""

    __slots__ = ("_body", "_raw", "_started", "delivered", "finished", "offset", "sock", "writes")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.offset: int | None = None
        self.delivered = 0
        self.writes = 0
        self.finished = False
        self._started = False
        self._raw = b""
        self._body = b""

    def blocks(self, data: bytes) -> list[bytes]:
        """The blocks that `data` completes, out of their chunks (RFC 9112, section 7.1)."""
        raw = self._raw + data
        if not self._started:
            head, end, rest = raw.partition(b"\r\n\r\n")
            if not end:
                self._raw = raw
                return []
            if not head.startswith(b"HTTP/1.1 200 "):
                raise SystemExit(f"refused: {head.splitlines()[0].decode()}")
            self._started, raw = True, rest
        place = 0
        body = [self._body]
        while (line_end := raw.find(b"\r\n", place)) >= 0:
            start = line_end + 2
            end_of_chunk = start + int(raw[place:line_end], 16)
            if len(raw) < end_of_chunk + 2:
                break
            body.append(raw[start:end_of_chunk])
            place = end_of_chunk + 2
        self.writes += len(body) - 1
        self._raw = raw[place:]
        *blocks, self._body = b"".join(body).split(b"\n\n")
        return blocks


class Measurement:
    """What all readers have received of the events due from `begin` to `end`, in nanoseconds."""

    def __init__(self) -> None:
        self.begin = self.end = sys.maxsize
        self.primed = 0
        self.finished = 0
        self.disordered = 0
        self.gaps = 0
        self._latencies = array("q")
        self._offsets: set[int] = set()
        self._known: dict[bytes, Block] = {}

    def take(self, reader: Reader, blocks: list[bytes], now: int) -> None:
        """Check and count what a reader has received at `now`."""
        for raw in blocks:
            # All readers get the same bytes, so each event is parsed once for all of them.
            offset, due, name = self._known.get(raw) or self._learn(raw)
            if not due:
                self._take_other(reader, offset, name)
                continue
            if reader.offset is None or offset != reader.offset + 1:
                self.disordered += 1
            reader.offset = offset
            if self.begin <= due < self.end:
                reader.delivered += 1
                self._latencies.append(now - due)
            elif due >= self.end and not reader.finished:
                reader.finished = True
                self.finished += 1

    def _take_other(self, reader: Reader, offset: int, name: str) -> None:
        self.gaps += name == "gap"
        if not name and reader.offset is None and offset >= 0:
            reader.offset = offset
            self.primed += 1

    def _learn(self, raw: bytes) -> Block:
        if len(self._known) >= KNOWN_BLOCKS:
            self._known.clear()
        block = self._known[raw] = parse_block(raw)
        if self.begin <= block.due < self.end:
            self._offsets.add(block.offset)
        return block

    @property
    def published(self) -> int:
        """How many events were due and sent in the measured time; offsets have no holes."""
        return max(self._offsets) - min(self._offsets) + 1 if self._offsets else 0

    def milliseconds(self) -> dict[str, float]:
        """The median, the 99th percentile and the maximum of the latencies."""
        ordered = sorted(self._latencies)
        if not ordered:
            return {"p50": 0.0, "p99": 0.0, "max": 0.0}
        ranks = {"p50": 0.5, "p99": 0.99, "max": 1.0}
        last = len(ordered) - 1
        return {name: ordered[round(last * rank)] / 1e6 for name, rank in ranks.items()}


class Readers:
    """All connections, on one selector."""

    def __init__(self, host: str, port: int, path: str, count: int) -> None:
        self.measurement = Measurement()
        self.closed = 0
        self._selector = selectors.DefaultSelector()
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/event-stream\r\n\r\n"
        self.all = [self._connect((host, port), request.encode()) for _ in range(count)]

    def _connect(self, address: tuple[str, int], request: bytes) -> Reader:
        sock = socket.create_connection(address, timeout=CONNECT_SECONDS)
        sock.sendall(request)
        sock.setblocking(False)
        reader = Reader(sock)
        self._selector.register(sock, selectors.EVENT_READ, reader)
        return reader

    def read_once(self) -> None:
        """Receive from every socket that is ready, then look at what came."""
        received: list[tuple[Reader, bytes, int]] = []
        for key, _ in self._selector.select(0.1):
            reader: Reader = key.data
            try:
                data = reader.sock.recv(65_536)
            except BlockingIOError:
                continue
            except ConnectionError:
                data = b""
            received.append((reader, data, time.monotonic_ns()))
        for reader, data, now in received:
            if data:
                self.measurement.take(reader, reader.blocks(data), now)
            else:
                self._selector.unregister(reader.sock)
                self.closed += 1

    def wait_until_primed(self) -> float:
        """Read until every reader has its priming id; gives the seconds it took."""
        started = time.monotonic()
        while self.measurement.primed < len(self.all):
            self.read_once()
            waited = time.monotonic() - started
            if self.closed or waited > CONNECT_SECONDS:
                raise SystemExit(
                    f"after {waited:.1f} s, {self.measurement.primed} of {len(self.all)} readers"
                    f" were connected and {self.closed} had been closed"
                )
        return time.monotonic() - started

    def measure(self, begin: int, end: int) -> dict[str, Any]:
        """Read until the events due before `end` are there, or late; gives the result."""
        measurement = self.measurement
        measurement.begin, measurement.end = begin, end
        self._read_until(begin)
        busy = -time.process_time()
        writes = -sum(reader.writes for reader in self.all)
        self._read_until(end)
        busy += time.process_time()
        writes += sum(reader.writes for reader in self.all)
        while measurement.finished < len(self.all):
            self.read_once()
            if time.monotonic_ns() > end + DRAIN_SECONDS * NANOSECONDS:
                break
        return {
            "published": measurement.published,
            "delivered": sum(reader.delivered for reader in self.all),
            "complete_readers": sum(r.delivered == measurement.published for r in self.all),
            "disordered": measurement.disordered,
            "gaps": measurement.gaps,
            "closed": self.closed,
            "writes": writes,
            "readers_cpu_share": busy / ((end - begin) / NANOSECONDS),
            "latency_ms": measurement.milliseconds(),
        }

    def _read_until(self, moment: int) -> None:
        while time.monotonic_ns() < moment:
            self.read_once()


def main() -> None:
    address, path, count, seconds, warm_up = sys.argv[1:]
    host, _, port = address.rpartition(":")
    readers = Readers(host, int(port), path, int(count))
    took = readers.wait_until_primed()
    begin = time.monotonic_ns() + int(float(warm_up) * NANOSECONDS)
    end = begin + int(float(seconds) * NANOSECONDS)
    print(json.dumps({"begin": begin, "end": end}), flush=True)
    result = {"connect_seconds": took, **readers.measure(begin, end)}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
