"""What HTTP/1.1 promises of a connection after an answer (RFC 9112 section 9)."""

import pytest

from .clients import raw_client
from .serving import ServerProcess

PATHS = ("/health/live", "/topics/countdown?after=earliest&format=ndjson")


@pytest.mark.parametrize("path", PATHS)
def test_a_connection_serves_one_request_after_another(server: ServerProcess, path: str) -> None:
    with raw_client(server) as client:
        client.socket.settimeout(2)
        for _ in range(100):
            client.get(path)
            client.until(b"}\n")
            if "topics" in path:
                client.until(b"\r\n0\r\n\r\n")


def test_a_connection_is_closed_where_the_client_asked_for_it(server: ServerProcess) -> None:
    for _ in range(20):
        with raw_client(server) as client:
            client.socket.settimeout(2)
            client.get("/health/live", "Connection: close")
            assert client.to_the_end().endswith(b'{"status":"live"}\n')
