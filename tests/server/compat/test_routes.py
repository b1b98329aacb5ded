"""``/v1/…`` and ``/api/chat``: answers, errors, ends and resuming, in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import penstock as ps
from penstock_server import ApiKeys, Grant, Limits, Server, Timing

from ..asgi_driver import serving
from .bench import COMPLETIONS, JSON_BODY, UI_USER, USER, Bench, data_of, text_of

KEY = "a-key-for-the-tests-0123456789abcdef"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_a_stream_of_chunks(autojump_clock: trio.abc.Clock) -> None:
    async with Bench().serving() as bench, bench.ask("hello") as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream"
        run = response.headers["x-request-id"]
        assert response.headers["location"] == f"/jobs/hello/{run}"
        body = await response.read()
    chunks = data_of(body)
    assert chunks[-1] == "[DONE]"
    assert text_of(chunks) == "Hello you"
    assert {chunk["id"] for chunk in chunks[:-1]} == {f"chatcmpl-{run}"}
    assert b"id: " not in body


async def test_the_same_log_is_a_job_s(autojump_clock: trio.abc.Clock) -> None:
    async with Bench().serving() as bench:
        async with bench.ask("hello") as response:
            await response.read()
            location = response.headers["location"]
        _, page = await bench.driver.fetch("GET", f"{location}?format=json")
        said = json.loads(page)
        assert [event["data"] for event in said["events"]] == [
            {"text": "Hello", "part": 1, "begins": True},
            {"text": " you", "part": 1},
            {"finish_reason": "stop", "part": 2, "closes": "text"},
        ]
        assert said["status"] == "done"
        assert said["end"]
        _, listed = await bench.driver.fetch("GET", "/jobs")
        job = json.loads(listed)["jobs"][0]
        assert job["name"] == "hello"
        assert job["schema"] is not None


async def test_a_chat_model_is_started_as_a_job_too(autojump_clock: trio.abc.Clock) -> None:
    async with Bench().serving() as bench:
        async with bench.post("/jobs/hello", {"messages": [USER]}) as response:
            assert response.status == 200
            events = [event.data for event in await response.events(4)]
        assert json.loads(events[0])["text"] == "Hello"
        async with bench.post("/jobs/hello", {"messages": []}) as refused:
            assert refused.status == 422


async def test_the_head_waits_a_moment_for_the_first_word(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with Bench().serving() as bench:
        began = trio.current_time()
        async with bench.ask("hello"):
            assert trio.current_time() == began
        async with bench.ask("slow") as response:
            assert trio.current_time() == began + 1
            piece = await response.piece()
            assert trio.current_time() == began + 1
            assert data_of(piece)[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


async def test_signs_of_life_while_the_model_thinks(autojump_clock: trio.abc.Clock) -> None:
    bench = Bench()

    @bench.server.chat_model("thinker")
    def thinker(_: Any) -> ps.Stream[str]:
        return ps.every(40, 2).map(lambda _: "so")

    async with bench.serving(), bench.ask("thinker") as response:
        assert b"assistant" in await response.piece()
        assert b"so" in await response.piece()
        assert await response.piece() == b": keepalive\n\n"


async def test_a_reader_that_goes_ends_the_model(autojump_clock: trio.abc.Clock) -> None:
    async with Bench().serving() as bench:
        async with bench.ask("slow") as response:
            await response.piece()
            await response.piece()
        with trio.fail_after(1):
            await bench.ended.wait()
        assert bench.log == ["begun", "ended"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_before_the_answer_begins_ends_the_model(
    autojump_clock: trio.abc.Clock, stream: bool
) -> None:
    async with Bench().serving() as bench:
        with trio.move_on_after(0.5):
            async with bench.ask("slow", stream=stream):
                pytest.fail("nothing was to come so soon")
        with trio.fail_after(1):
            await bench.ended.wait()
        assert bench.log == ["begun", "ended"]


async def test_a_completion_takes_the_time_that_the_model_takes(
    autojump_clock: trio.abc.Clock,
) -> None:
    bench = Bench()
    bench.gate.set()
    async with bench.serving():
        status, said = await bench.answer(COMPLETIONS, {"model": "gated", "messages": [USER]})
    assert status == 200
    assert said["choices"][0]["message"]["content"] == "first second"
    assert said["choices"][0]["finish_reason"] == "length"
    assert "usage" not in said


@pytest.mark.expect_error_log
async def test_failing(autojump_clock: trio.abc.Clock) -> None:
    async with Bench().serving() as bench:
        async with bench.ask("fails") as response:
            chunks = data_of(await response.read())
        assert text_of(chunks) == "2"
        assert chunks[-2]["error"]["type"] == "server_error"
        assert chunks[-1] == "[DONE]"
        status, said = await bench.answer(COMPLETIONS, {"model": "fails", "messages": [USER]})
        assert status == 500
        assert said["error"] == chunks[-2]["error"]
        assert "division" not in str(said)


async def test_a_cancelled_answer_is_not_taken_for_a_whole_one(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with Bench().serving() as bench:
        async with bench.ask("gated") as response:
            await bench.driver.fetch("DELETE", response.headers["location"])
            chunks = data_of(await response.read())
        assert chunks[-2]["error"]["code"] == "cancelled"
        assert chunks[-1] == "[DONE]"
        ui = {"id": "c", "messages": [UI_USER], "model": "gated"}
        async with bench.post("/api/chat", ui) as response:
            await bench.driver.fetch("DELETE", response.headers["location"])
            parts = data_of(await response.read())
        assert parts[-2]["type"] == "abort"


async def test_an_answer_that_is_too_long_ends_with_length(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()

    @bench.server.chat_model("endless", max_deltas=10)
    @ps.producer
    async def endless(_: Any) -> Any:
        while True:
            yield "x"
            await trio.sleep(0.01)

    async with bench.serving(), bench.ask("endless") as response:
        chunks = data_of(await response.read())
    assert text_of(chunks) == "x" * 10
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert "too long" in caplog.text


async def test_a_repeated_key_leads_to_the_same_answer(autojump_clock: trio.abc.Clock) -> None:
    key = {"idempotency-key": "k"}
    async with Bench().serving() as bench:
        bodies = []
        for _ in range(2):
            async with bench.ask("hello", key) as response:
                bodies.append(await response.read())
        assert bodies[0] == bodies[1]
        assert response.headers["idempotent-replayed"] == "true"
        async with bench.ask("hello", key, temperature=1) as response:
            assert response.status == 422
            assert "error" in await response.json()


# Errors


async def test_errors_before_the_model_is_asked(autojump_clock: trio.abc.Clock) -> None:
    async with Bench(limits=Limits(max_message_bytes=1000)).serving() as bench:
        large = {"model": "hello", "messages": [{"role": "user", "content": "x" * 1000}]}
        for body, headers, status, code in (
            (b"{", {}, 400, None),
            ({"model": "?", "messages": [USER]}, {}, 404, "model_not_found"),
            (large, {}, 413, "content_too_large"),
            (b"?", {"content-type": "text/plain"}, 415, None),
        ):
            for path in (COMPLETIONS, "/api/chat"):
                if status == 404 and path == "/api/chat":
                    body = {"model": "?", "messages": [UI_USER]}
                answered, said = await bench.answer(path, body, headers)
                assert answered == status
                assert set(said["error"]) == {"message", "type", "param", "code"}
                assert said["error"]["type"] == "invalid_request_error"
                assert said["error"]["code"] == code
        response, body = await bench.driver.fetch("GET", COMPLETIONS)
        assert response.status == 405
        assert response.headers["allow"] == "POST, OPTIONS"
        assert json.loads(body)["error"]["type"] == "invalid_request_error"


async def test_too_many_at_a_time(autojump_clock: trio.abc.Clock) -> None:
    async with (
        Bench().serving() as bench,
        bench.ask("far"),
        bench.ask("far"),
        bench.ask("far") as third,
    ):
        assert third.status == 429
        assert int(third.headers["retry-after"]) > 0
        said = await third.json()
    assert said["error"]["code"] == "rate_limit_exceeded"


async def test_rights() -> None:
    auth = ApiKeys({KEY: Grant("me", jobs=("hel*",))})
    async with Bench(auth=auth).serving() as bench:
        body = {"model": "hello", "messages": [USER]}
        assert (await bench.answer(COMPLETIONS, body, bearer(KEY)))[0] == 200
        status, said = await bench.answer(COMPLETIONS, body)
        assert status == 401
        assert said["error"]["code"] == "invalid_api_key"
        status, said = await bench.answer(COMPLETIONS, body | {"model": "slow"}, bearer(KEY))
        assert status == 403
        assert said["error"]["code"] == "insufficient_permissions"
        _, models = await bench.driver.fetch("GET", "/v1/models", bearer(KEY))
        assert [model["id"] for model in json.loads(models)["data"]] == ["hello"]
        for model, status in (("hello", 200), ("slow", 403), ("help", 404)):
            answer, _ = await bench.driver.fetch("GET", f"/v1/models/{model}", bearer(KEY))
            assert answer.status == status


async def test_a_draining_server_tells_who_waits_and_takes_no_more(
    autojump_clock: trio.abc.Clock,
) -> None:
    waiting: list[Any] = []
    async with (
        Bench().serving() as bench,
        bench.ask("slow") as response,
        trio.open_nursery() as nursery,
    ):

        async def wait() -> None:
            body = {"model": "slow", "messages": [USER]}
            waiting.extend(await bench.answer(COMPLETIONS, body))

        nursery.start_soon(wait)
        await trio.sleep(2)
        bench.server.hub.begin_drain()
        await trio.lowlevel.checkpoint()
        late = await bench.answer(COMPLETIONS, {"model": "hello", "messages": [USER]})
        chunks = data_of(await response.read())
    assert late[0] == 503
    assert late[1]["error"]["type"] == "server_error"
    assert chunks[-2]["error"]["message"].startswith("The server shut down")
    assert waiting[0] == 503


async def test_a_token_that_expires_is_told_in_mid_answer(autojump_clock: trio.abc.Clock) -> None:
    auth = ApiKeys({KEY: Grant("me", jobs=("*",))})
    async with Bench(auth=auth).serving() as bench, bench.ask("slow", bearer(KEY)) as response:
        await response.piece()
        await bench.server.revoke(subject="me")
        chunks = data_of(await response.read())
    assert chunks[-1]["error"]["code"] == "disconnected"


# Chats


async def test_a_chat_is_resumed_by_who_owns_it(autojump_clock: trio.abc.Clock) -> None:
    other = KEY[::-1]
    auth = ApiKeys({KEY: Grant("me", jobs=("*",)), other: Grant("you", jobs=("*",))})
    async with Bench(auth=auth).serving() as bench:
        body = {"id": "c", "messages": [UI_USER], "model": "gated"}
        async with bench.post("/api/chat", body, bearer(KEY)) as response:
            begun = data_of(await response.piece())
        assert begun[0]["type"] == "start"
        mine, theirs = bearer(KEY), bearer(other)
        resumed: list[Any] = []
        async with bench.driver.request("GET", "/api/chat/c/stream", mine) as response:
            assert response.status == 200
            assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
            assert response.headers["location"].startswith("/jobs/gated/")
            assert (await bench.driver.fetch("GET", "/api/chat/c/stream", theirs))[0].status == 204
            bench.gate.set()
            resumed = data_of(await response.read())
        assert resumed[0] == begun[0]
        deltas = [part["delta"] for part in resumed[:-1] if part["type"] == "text-delta"]
        assert deltas == ["first ", "second"]
        assert resumed[-2] == {"type": "finish", "finishReason": "length"}
        assert (await bench.driver.fetch("GET", "/api/chat/c/stream", mine))[0].status == 204


async def test_a_chat_takes_the_first_model_that_its_client_may_ask(
    autojump_clock: trio.abc.Clock,
) -> None:
    auth = ApiKeys({KEY: Grant("me", jobs=("gated",)), KEY[::-1]: Grant("you")})
    bench = Bench(auth=auth)
    bench.gate.set()
    async with bench.serving():
        async with bench.post("/api/chat", {"messages": [UI_USER]}, bearer(KEY)) as response:
            assert response.headers["location"].startswith("/jobs/gated/")
            await response.read()
        status, _ = await bench.answer("/api/chat", {"messages": [UI_USER]}, bearer(KEY[::-1]))
        assert status == 403


async def test_without_chat_models_the_addresses_are_the_user_s_own() -> None:
    server = Server(timing=Timing(keepalive=5, heartbeat=5))

    @server.app.get("/v1/models")
    async def models() -> str:
        return "mine"

    async with serving(server) as driver:
        _, body = await driver.fetch("GET", "/v1/models")
        assert body == b"mine"


# Any body at all

pieces = st.sampled_from(
    [
        *(b'"', b"{", b"}", b"[", b"]", b":", b",", b"null", b"\\ud800", b"\0", b"\xff", b"1e400"),
        *(b'"model":"hello"', b'"messages"', b'"role":"user"', b'"content"', b'"parts"', b'"text"'),
    ]
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(pieces, max_size=30).map(b"".join))
def test_hostile_bodies_are_answered_with_400(body: bytes) -> None:
    async def check() -> None:
        async with Bench().serving() as bench:
            for path in (COMPLETIONS, "/api/chat"):
                status, said = await bench.answer(path, body, JSON_BODY)
                assert status == 400
                assert said["error"]["type"] == "invalid_request_error"

    trio.run(check)
