"""A client of HTTP/2, over TLS or with prior knowledge, that can open WebSockets (RFC 8441)."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import h2.config
import h2.connection
import h2.events
import h2.settings
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, TextMessage

from .clients import PATIENCE, Message
from .serving import ServerProcess


class Http2Client:
    """One connection; it acknowledges all that comes, so that windows stay open."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.scheme = "https" if isinstance(connected, ssl.SSLSocket) else "http"
        self.protocol = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self.protocol.initiate_connection()
        self.status: dict[int, int] = {}
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.goaway: h2.events.ConnectionTerminated | None = None
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.protocol.data_to_send())

    def request(self, path: str, method: str = "GET", *, end: bool = True, **more: str) -> int:
        """Ask for something; gives the stream's id."""
        stream = self.protocol.get_next_available_stream_id()
        headers = [
            (":method", method),
            (":scheme", self.scheme),
            (":path", path),
            (":authority", "localhost"),
            *((name.replace("_", "-"), value) for name, value in more.items()),
        ]
        self.protocol.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    def open_websocket(self, path: str = "/ws") -> Http2WebSocket:
        """Bootstrap a WebSocket by an extended CONNECT; fails unless it is taken."""
        self.until(lambda: self.allows_connect)
        stream = self.protocol.get_next_available_stream_id()
        headers = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", self.scheme),
            (":path", path),
            (":authority", "localhost"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "penstock.v1.json"),
        ]
        self.protocol.send_headers(stream, headers)
        self.flush()
        self.until(lambda: stream in self.status)
        assert self.status[stream] == 200
        return Http2WebSocket(self, stream)

    @property
    def allows_connect(self) -> bool:
        """Whether the server has said that extended CONNECT is welcome."""
        wanted = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL
        return self.protocol.remote_settings.get(wanted) == 1

    def until(self, done: Any) -> None:
        """Take what comes until it is true. Fails after a while, or at the connection's end."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, "not in time"
            assert self.pull(), "the server has closed the connection"

    def pull(self) -> bool:
        """Take what there is; False at the end."""
        data = self.socket.recv(65536)
        for event in self.protocol.receive_data(data) if data else ():
            self._take(event)
        if self.goaway is None:
            self.flush()
        return bool(data)

    def answer(self, stream: int) -> tuple[int, bytes]:
        """The status and the whole body of an answer."""
        self.until(lambda: stream in self.ended)
        return self.status[stream], self.data.get(stream, b"")

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                headers = dict(cast("list[tuple[str, str]]", event.headers))
                self.status[event.stream_id] = int(headers[":status"])
            case h2.events.DataReceived():
                before = self.data.get(event.stream_id, b"")
                self.data[event.stream_id] = before + event.data
                size = event.flow_controlled_length
                self.protocol.acknowledge_received_data(size, event.stream_id)
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)
            case h2.events.StreamReset():
                self.resets[event.stream_id] = int(event.error_code)
                self.ended.add(event.stream_id)
            case h2.events.ConnectionTerminated():
                self.goaway = event
            case _:
                pass


class Http2WebSocket:
    """A WebSocket that is one stream of a connection."""

    def __init__(self, client: Http2Client, stream: int) -> None:
        self.stream = stream
        self.client = client
        self.pings: list[Ping] = []
        self.close_code: int | None = None
        self.answers_pings = True
        self._protocol = Connection(ConnectionType.CLIENT)
        self._due: list[Message] = []
        self._text = ""

    def send(self, *messages: Message) -> None:
        """Send messages as one frame."""
        self.send_event(TextMessage(json.dumps(messages)))

    def send_event(self, event: Event) -> None:
        self.send_bytes(bytes(self._protocol.send(event)))

    def send_bytes(self, data: bytes) -> None:
        self.client.protocol.send_data(self.stream, data)
        self.client.flush()

    def next(self) -> Message:
        """The next message."""
        self.client.until(self._has_message)
        return self._due.pop(0)

    def find(self, kind: str) -> Message:
        """The next message of that type; others are passed over."""
        while (message := self.next())["type"] != kind:
            pass
        return message

    def closed(self) -> int:
        """The server's close code, once it has come and the stream has ended."""
        self.client.until(lambda: self.stream in self.client.ended)
        self._parse()
        assert self.close_code is not None
        return self.close_code

    def _has_message(self) -> bool:
        self._parse()
        return bool(self._due)

    def _parse(self) -> None:
        data = self.client.data.pop(self.stream, b"")
        if self.close_code is not None:
            return  # nothing follows
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            if isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    self._due += json.loads(self._text)
                    self._text = ""
            elif isinstance(event, Ping):
                self.pings.append(event)
                if self.answers_pings:
                    self.send_event(event.response())
            elif isinstance(event, CloseConnection):
                self.close_code = int(event.code)


@contextmanager
def http2(server: ServerProcess, tls: ssl.SSLContext | None = None) -> Generator[Http2Client]:
    """A connection while the block runs."""
    plain = socket.create_connection((server.host, server.port), timeout=PATIENCE)
    with tls.wrap_socket(plain, server_hostname="localhost") if tls else plain as connected:
        yield Http2Client(connected)
