"""Pages of other origins over real sockets: cookies, CORS, and WebSockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ..server.auth.issuing import issue
from .clients import raw_client
from .conftest import Launch
from .serving import CONFIGS, SERVE, ServerProcess

PAGE = "/topics/room.1?format=json"
FRIEND, STRANGER = "https://friend.example", "https://stranger.example"


@pytest.fixture(scope="module")
def guarded(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        yield launch(stack, (*SERVE, str(CONFIGS / "guarded.py"), "--bind", "127.0.0.1:0"))


def with_cookie(**headers: str) -> dict[str, str]:
    return {"cookie": f"penstock_token={issue()}", **headers}


def test_a_strangers_page_gets_nothing_with_the_users_cookie(guarded: ServerProcess) -> None:
    refused = guarded.get(PAGE, headers=with_cookie(origin=STRANGER))
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert "access-control-allow-origin" not in refused.headers
    assert guarded.post("room.1", 1, with_cookie(origin=STRANGER)).status_code == 403
    assert guarded.get("/topics", headers=with_cookie(origin=STRANGER)).status_code == 403
    assert guarded.get(PAGE, headers=with_cookie(origin="null")).status_code == 403
    foreign = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert guarded.get(PAGE, headers=with_cookie(**foreign)).status_code == 403


def test_our_own_page_and_a_friends_do(guarded: ServerProcess) -> None:
    ours = guarded.get(PAGE, headers=with_cookie(origin=guarded.url))
    assert ours.status_code == 200
    answer = guarded.get(PAGE, headers=with_cookie(origin=FRIEND))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == FRIEND
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]
    assert guarded.post("room.1", 1, with_cookie(origin=FRIEND)).status_code == 201


def test_a_preflight(guarded: ServerProcess) -> None:
    asked = {
        "origin": FRIEND,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,idempotency-key",
    }
    for path in ("/topics/room.1", "/topics"):
        answer = guarded.client.options(guarded.url + path, headers=asked)
        assert answer.status_code in (200, 204)
        assert answer.headers["access-control-allow-origin"] == FRIEND
        assert "Authorization" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    ("origin", "status"), [(STRANGER, 403), ("null", 403), (FRIEND, 101), (None, 101)]
)
def test_a_websocket_is_refused_before_it_is_upgraded(
    guarded: ServerProcess, origin: str | None, status: int
) -> None:
    headers = [f"Cookie: penstock_token={issue()}"]
    if origin is not None:
        headers.append(f"Origin: {origin}")
    with raw_client(guarded) as client:
        assert client.ask_for_upgrade("/ws", *headers).startswith(f"HTTP/1.1 {status} ")
