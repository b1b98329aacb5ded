"""Requests read within their bounds, and answers."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from penstock_server.transports.http import (
    ClientGone,
    Problem,
    Request,
    respond,
    respond_json,
    respond_problem,
)


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


def request(
    messages: Iterable[dict[str, Any]] = (),
    headers: dict[str, str] | None = None,
    query: str = "",
) -> Request:
    """A request of which these messages come, and then nothing more."""
    waiting = iter(messages)

    async def receive() -> dict[str, Any]:
        for message in waiting:
            await trio.lowlevel.checkpoint()
            return message
        await trio.sleep_forever()
        raise AssertionError

    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"method": "POST", "headers": pairs, "query_string": query.encode()}
    return Request(scope | {"client": ("192.0.2.7", 5000)}, receive)


async def test_a_body_in_parts() -> None:
    parts = [part(b"ab", more=True), part(b"", more=True), part(b"cd", more=False)]
    assert await request(parts).body(limit=4, timeout=1) == b"abcd"


async def test_a_body_that_says_that_it_is_too_large_is_not_read() -> None:
    with pytest.raises(Problem) as refused:
        await request(headers={"content-length": "5"}).body(limit=4, timeout=1)
    assert (refused.value.status, refused.value.more) == (413, {"limit": 4})


@pytest.mark.parametrize("length", [None, "4", "nonsense", "-1"])
async def test_a_body_that_turns_out_too_large_is_refused(length: str | None) -> None:
    headers = {} if length is None else {"content-length": length}
    parts = [part(b"abc", more=True), part(b"de", more=True)]
    with pytest.raises(Problem) as refused:
        await request(parts, headers).body(limit=4, timeout=1)
    assert refused.value.status == 413


async def test_a_body_must_come_in_time(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(Problem) as refused:
        await request([part(b"ab", more=True)]).body(limit=4, timeout=30)
    assert refused.value.status == 408
    assert trio.current_time() == 30


async def test_a_client_that_leaves_in_mid_body() -> None:
    with pytest.raises(ClientGone):
        await request([part(b"ab", more=True), GONE]).body(limit=4, timeout=1)


async def test_waiting_for_the_client_to_leave_drops_what_it_sends() -> None:
    await request([part(b"ab", more=True), part(b"", more=False), GONE]).disconnected()


def test_headers_and_parameters() -> None:
    asked = request(headers={"Accept": "a", "accept": "b"}, query="after=x&after=y&empty=&n=1%2C2")
    assert asked.header("accept") == "a, b"
    assert asked.header("origin") is None
    assert asked.query("after") == "y"
    assert asked.query("empty") == ""
    assert asked.query("n") == "1,2"
    assert asked.query("other") is None
    assert asked.client == "192.0.2.7:5000"


class Sent:
    """An ASGI `send` that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def __call__(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])


async def test_answers_have_their_length() -> None:
    sent = Sent()
    await respond(sent, 200, [(b"x", b"y")], b"abc")
    assert sent.headers == {b"x": b"y", b"content-length": b"3"}
    assert (sent.messages[0]["status"], sent.messages[1]["body"]) == (200, b"abc")


async def test_head_has_the_length_and_no_body() -> None:
    sent = Sent()
    await respond_json(sent, 200, {"a": 1}, head=True)
    assert sent.headers == {b"content-type": b"application/json", b"content-length": b"7"}
    assert sent.messages[1]["body"] == b""


async def test_a_problem_says_what_is_wrong() -> None:
    sent = Sent()
    problem = Problem(422, "Invalid Data", "Value 1 …", [(b"x", b"y")], errors=[{"index": 1}])
    await respond_problem(sent, problem)
    assert sent.headers[b"content-type"] == b"application/problem+json"
    assert sent.headers[b"x"] == b"y"
    assert msgspec.json.decode(sent.messages[1]["body"]) == {
        "type": "about:blank",
        "title": "Invalid Data",
        "status": 422,
        "detail": "Value 1 …",
        "errors": [{"index": 1}],
    }
