"""A server that asks who its clients are, and the headers by which they say it."""

from __future__ import annotations

from typing import Any

from penstock_server import Server, Timing

from ..asgi_driver import HOST

READER, WRITER, BOSS, NOBODY = (f"{name}-0123456789abcdef" for name in "rwbn")
KEYS: dict[str, Any] = {
    READER: {"subject": "ann", "subscribe": ["room.*"]},
    WRITER: {"subject": "bob", "publish": ["room.1"]},
    BOSS: {"subject": "eve", "operate": True},
    NOBODY: {},
}
JSON = {"content-type": "application/json"}
FRIEND, STRANGER, OURSELVES = (
    {"origin": origin}
    for origin in ("https://friend.example", "https://stranger.example", f"http://{HOST}")
)
ALLOW = "access-control-allow-origin"
CREDENTIALS = "access-control-allow-credentials"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def cookie(token: str) -> dict[str, str]:
    return {"cookie": f"penstock_token={token}"}


def make(auth: Any, cors: Any = ("https://friend.example",)) -> Server:
    server = Server(cors=cors, auth=auth, timing=Timing(grace=5, stall_timeout=1000))
    for name in ("room.1", "room.2", "secret"):
        server.topic(name, accepts=object)
    return server
