"""`openai_chat` over real sockets: an upstream that says what it is told to, and breaks as told."""

from __future__ import annotations

import logging
import ssl
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
import trustme

from penstock import Backoff, PipelineError, StageError, collect
from penstock.net import OpenAIChat, UpstreamError, openai_chat, openai_models
from penstock.wire import ChatDelta, ChatMessage, ToolCallDelta, Usage

from ...scripted_upstream import (
    DONE,
    HEAD,
    OPEN_ENDED,
    STOP,
    Script,
    ScriptedUpstream,
    answer,
    data,
    delta,
    text,
    upstream,
)

KEY = "sk-very-secret-0123456789"
QUICK = Backoff(initial=0.001, maximum=0.001, jitter=False)
HELLO = [ChatMessage("user", "hello")]


def model(server: ScriptedUpstream, **options: Any) -> OpenAIChat:
    return openai_chat(server.url, "m-1", KEY, **{"backoff": QUICK, **options})


async def ask(chat: OpenAIChat, parameters: dict[str, Any] | None = None) -> list[ChatDelta]:
    with trio.fail_after(10):
        return await chat(HELLO, parameters or {}).to(collect()).run()


async def failure(chat: OpenAIChat, got: list[ChatDelta] | None = None) -> UpstreamError:
    """What asking fails with; nothing of it shows the key."""
    with pytest.raises(StageError) as caught, trio.fail_after(10):
        async with chat(HELLO).open() as items:
            async for item in items:
                (got if got is not None else []).append(item)
    error = caught.value.cause
    assert isinstance(error, UpstreamError)
    assert KEY not in f"{caught.value} {caught.value!r} {error} {error!r} {vars(error)}"
    return error


# An answer


async def test_text_reasoning_tools_reason_and_usage_arrive_in_order() -> None:
    call = {"index": 0, "id": "call-1", "type": "function"}
    script = OPEN_ENDED + b"".join(
        [
            b": OPENROUTER PROCESSING\n\n",
            delta(role="assistant", content=""),
            delta(reasoning_content="well"),
            delta(reasoning=", yes"),
            text("Grüße"),
            text(" 🎻"),
            delta(tool_calls=[{**call, "function": {"name": "now", "arguments": ""}}]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": '{"tz":1}'}}]),
            delta("tool_calls"),
            data({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 7}}),
            DONE,
            text("after the end"),
        ]
    )
    async with upstream(script) as server:
        assert await ask(model(server)) == [
            ChatDelta(reasoning="well"),
            ChatDelta(reasoning=", yes"),
            ChatDelta("Grüße"),
            ChatDelta(" 🎻"),
            ChatDelta(tool_calls=(ToolCallDelta(0, "call-1", "now"),)),
            ChatDelta(tool_calls=(ToolCallDelta(0, arguments='{"tz":1}'),)),
            ChatDelta(finish_reason="tool_calls"),
            ChatDelta(usage=Usage(3, 7)),
        ]


async def test_the_request_says_all_that_it_should() -> None:
    script = OPEN_ENDED + STOP + DONE
    async with upstream(script) as server:
        chat = model(server, headers={"X-Title": "test"}, temperature=0.5, seed=1, user=None)
        await ask(chat, {"seed": 2, "model": "other", "n": 5, "stream": False, "stop": ["."]})
    request = server.requests[0]
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["x-title"] == "test"
    assert request.headers["accept-encoding"] == "identity"
    assert request.json == {
        "model": "m-1",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "seed": 2,
        "stop": ["."],
    }


async def test_messages_with_parts_and_tool_calls_are_passed_on_as_they_are() -> None:
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "data:"}},
    ]
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [
        ChatMessage("user", parts),
        ChatMessage("assistant", tool_calls=calls),
        ChatMessage("tool", "9", tool_call_id="1"),
    ]
    async with upstream(OPEN_ENDED + STOP) as server:
        with trio.fail_after(10):
            async with model(server)(messages).open() as items:
                assert [item async for item in items] == [ChatDelta(finish_reason="stop")]
    assert server.requests[0].json["messages"] == [
        {"role": "user", "content": parts},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "content": "9", "tool_call_id": "1"},
    ]


@pytest.mark.parametrize(
    ("base", "path"),
    [("", "/chat/completions"), ("/", "/chat/completions"), ("/a/v1/", "/a/v1/chat/completions")],
)
async def test_the_base_is_taken_as_it_is_given(base: str, path: str) -> None:
    async with upstream(OPEN_ENDED + STOP) as server:
        host = server.url.removesuffix("/v1")
        await ask(openai_chat(f"{host}{base}?api-version=1", "m"))
    assert server.requests[0].line == f"POST {path}?api-version=1 HTTP/1.1"
    assert "authorization" not in server.requests[0].headers


async def test_a_stream_runs_as_often_as_it_is_asked_to() -> None:
    async with upstream(*[OPEN_ENDED + text("hi") + STOP] * 2) as server:
        stream = model(server)(HELLO)
        for _ in range(2):
            async with stream.open() as items:
                assert (await anext(aiter(items))).text == "hi"
    assert len(server.requests) == 2


async def test_an_answer_may_end_without_done_once_it_has_said_why() -> None:
    cut = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    body = text("hi") + delta("length")
    async with upstream(cut + b"%x\r\n%b\r\n" % (len(body), body)) as server:
        assert (await ask(model(server)))[-1].finish_reason == "length"


async def test_each_token_comes_when_it_is_sent() -> None:
    read = trio.Event()

    async def script(connection: trio.SocketStream) -> None:
        await connection.send_all(OPEN_ENDED + text("one"))
        await read.wait()
        await connection.send_all(STOP)

    async with upstream(script) as server:
        with trio.fail_after(10):
            async with model(server)(HELLO).open() as items:
                assert (await anext(aiter(items))).text == "one"
                read.set()
                assert [item async for item in items] == [ChatDelta(finish_reason="stop")]


# Ends


async def sends_and_waits(connection: trio.SocketStream) -> None:
    await connection.send_all(OPEN_ENDED + text("one"))
    await trio.sleep_forever()


async def sends_for_ever(connection: trio.SocketStream) -> None:
    await connection.send_all(OPEN_ENDED)
    while True:
        await connection.send_all(text("more"))


async def says_nothing(connection: trio.SocketStream) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("script", [sends_and_waits, sends_for_ever])
async def test_leaving_an_answer_closes_the_request_at_once(script: Script) -> None:
    async with upstream(script) as server:
        with trio.fail_after(10):
            async with model(server)(HELLO).open() as items:
                await anext(aiter(items))
        with trio.fail_after(1):
            await server.gone.wait()


async def test_cancelling_closes_the_request_at_once_wherever_it_is() -> None:
    async with upstream(says_nothing) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, model(server))
            with trio.fail_after(10):
                await server.asked.wait()
            nursery.cancel_scope.cancel("stop")
        with trio.fail_after(1):
            await server.gone.wait()


async def test_what_is_not_read_is_not_taken() -> None:
    """The upstream comes to a stand: two buffers of the system and one of the engine are full."""
    sent = 0

    async def script(connection: trio.SocketStream) -> None:
        nonlocal sent
        await connection.send_all(OPEN_ENDED)
        while True:
            await connection.send_all(text("x" * 10_000))
            sent += 1

    async with upstream(script) as server:
        with trio.fail_after(20):
            async with model(server)(HELLO).open() as items:
                await anext(aiter(items))
                before = -1
                while before < sent:
                    before = sent
                    await trio.sleep(0.2)
        assert 0 < sent < 4000


# Failures


FAULT = {"error": {"message": "Rate limit\nreached", "type": "requests", "code": "rate_limit"}}


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (FAULT, ": Rate limit reached", "rate_limit"),
        (
            {"error": {"message": "no", "type": "invalid_request_error"}},
            ": no",
            "invalid_request_error",
        ),
        ({"error": {"message": "no", "code": 7}}, ": no", "7"),
        ([{"error": {"message": "no"}}], ": no", None),
        ({"error": "no such model"}, ": no such model", None),
        ({"object": "error", "message": "no"}, ": no", None),
        ({"title": "Gone", "detail": "the model has moved"}, ": the model has moved", None),
        (b"plain words", ": plain words", None),
        (b"<html><h1>nginx</h1></html>", "", None),
        (b"", "", None),
        (b"[" * 50_000, "", None),
        ({"error": {"error": {"error": {"error": {"error": {"message": "deep"}}}}}}, "", None),
        (b"\xff\x1b[31m\x00red", ": \ufffd [31m red", None),
    ],
)
async def test_a_refusal_says_what_the_upstream_says(
    body: object, message: str, code: str | None
) -> None:
    async with upstream(answer("400 Bad Request", body)) as server:
        error = await failure(model(server))
    if body == b"[" * 50_000:
        assert len(str(error)) < 400
        return
    assert str(error) == f"{server.url} answered 400 Bad Request{message}"
    assert (error.status, error.code) == (400, code)
    assert len(server.requests) == 1


async def test_a_key_that_the_upstream_repeats_is_taken_out() -> None:
    other = {"X-Api-Key": "another-secret"}
    said = {"error": {"message": f"bad key {KEY} or another-secret", "code": KEY}}
    async with upstream(answer("401 Unauthorized", said)) as server:
        error = await failure(model(server, headers=other))
    assert "answered 401 Unauthorized: bad key […] or […]; check the API key" in str(error)
    assert "another-secret" not in repr(error)


async def test_the_key_is_in_no_repr_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with upstream(OPEN_ENDED + STOP) as server:
        chat = model(server, headers={"X-Token": "another-secret"})
        stream = chat(HELLO)
        await ask(chat)
    shown = f"{chat} {chat!r} {chat.upstream!r} {stream!r} {stream.graph().text('x')} {caplog.text}"
    assert f"<openai_chat 'm-1' at {server.url}>" in shown
    assert KEY not in shown
    assert "another-secret" not in shown


async def test_a_message_without_end_is_cut_short() -> None:
    async with upstream(answer("400 No", b"x" * 1_000_000)) as server:
        error = await failure(model(server))
    assert len(str(error)) < 400
    assert str(error).endswith("xxx…")


async def test_a_redirect_is_not_followed() -> None:
    async with upstream(
        answer("307 Temporary Redirect", b"", "Location: https://elsewhere.example/v1?key=1")
    ) as server:
        error = await failure(model(server))
    assert "answered 307 Temporary Redirect, a redirect to https://elsewhere.example/v1;" in str(
        error
    )
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (OPEN_ENDED + text("hi"), "ended its answer in mid-way, without saying why"),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n31\r\n" + text("hi")[:20],
            "broke off in mid-answer",
        ),
        (OPEN_ENDED + text("hi") + data(FAULT), "failed in mid-answer: Rate limit reached"),
        (
            OPEN_ENDED + text("hi") + b'event: error\ndata: {"message": "oh"}\n\n',
            "failed in mid-answer: oh",
        ),
        (OPEN_ENDED + delta("error"), "failed in mid-answer: the model failed"),
        (OPEN_ENDED + data(b'{"choices": ['), "sent something that is no chunk of an answer"),
        (OPEN_ENDED + data({"choices": 7}), "`$.choices`"),
        (OPEN_ENDED + data(b'{"x": ' + b"[" * 100_000), "no chunk of an answer"),
        (OPEN_ENDED + delta(tool_calls=[{"index": 10**12}]), "no chunk of an answer"),
        (OPEN_ENDED + data(b"\xff\xfe"), "no chunk of an answer"),
        (
            answer("200 OK", {"choices": []}, "Content-Type: application/json"),
            "gave an answer that is application/json, not text/event-stream; check the base URL",
        ),
        (
            answer("200 OK", FAULT, "Content-Type: application/json"),
            "not text/event-stream: Rate limit reached",
        ),
        (answer("200 OK", b"<html>", "Content-Type: text/html"), "is text/html"),
        (answer("200 OK", b"{}"), "without a type"),
        (
            HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n\x1f\x8b",
            "sent a compressed answer",
        ),
    ],
)
async def test_an_answer_that_breaks_is_an_error_and_not_asked_for_again(
    script: bytes, problem: str
) -> None:
    got: list[ChatDelta] = []
    async with upstream(script) as server:
        error = await failure(model(server), got)
    assert problem in str(error)
    assert error.status == 200
    assert len(server.requests) == 1
    assert [each.text for each in got] == (["hi"] if text("hi") in script else [])


async def test_a_line_without_end_is_an_error_in_bounded_memory() -> None:
    sent = 0

    async def script(connection: trio.SocketStream) -> None:
        nonlocal sent
        await connection.send_all(OPEN_ENDED + b"data: ")
        while True:
            await connection.send_all(b"x" * 65_536)
            sent += 65_536

    async with upstream(script) as server:
        error = await failure(model(server))
    assert "longer than 1048576 bytes" in str(error)
    assert sent < 16 * 1024 * 1024


async def test_a_stall_is_an_error_before_the_answer_and_in_it() -> None:
    async with upstream(says_nothing) as server:
        error = await failure(model(server, timeout=0.1))
        assert str(error) == f"{server.url} sent nothing for 0.1 s"
    got: list[ChatDelta] = []
    async with upstream(sends_and_waits) as server:
        error = await failure(model(server, timeout=0.1), got)
        assert "stalled in mid-answer: nothing came for 0.1 s" in str(error)
    assert got == [ChatDelta("one")]


async def test_a_slow_reader_is_no_stall() -> None:
    async with upstream(OPEN_ENDED + text("a") * 5000 + STOP) as server:
        with trio.fail_after(10):
            async with model(server, timeout=0.1)(HELLO).open() as items:
                await anext(aiter(items))
                await trio.sleep(0.3)
                assert [item async for item in items][-1].finish_reason == "stop"


# Trying again


@pytest.mark.parametrize(
    "status", ["429 Too Many Requests", "500 Oh", "503 Service Unavailable", "529 Busy"]
)
async def test_what_may_pass_is_tried_again(status: str) -> None:
    scripts = [answer(status, FAULT), answer(status), OPEN_ENDED + text("hi") + STOP]
    async with upstream(*scripts) as server:
        assert (await ask(model(server)))[0].text == "hi"
    assert len(server.requests) == 3


async def test_attempts_have_an_end() -> None:
    async with upstream(*[answer("503 Busy", FAULT)] * 3) as server:
        error = await failure(model(server))
        assert (error.status, len(server.requests)) == (503, 3)
    async with upstream(answer("503 Busy")) as server:
        await failure(model(server, retries=0))
        assert len(server.requests) == 1


async def test_what_will_not_pass_is_not_tried_again() -> None:
    spent = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    async with upstream(answer("429 Too Many Requests", spent)) as server:
        error = await failure(model(server))
    assert (error.code, len(server.requests)) == ("insufficient_quota", 1)


async def test_a_pause_that_the_upstream_asks_for_is_made() -> None:
    busy = answer("429 Too Many Requests", FAULT, "Retry-After: 1")
    async with upstream(busy, OPEN_ENDED + STOP) as server:
        started = trio.current_time()
        await ask(model(server))
    assert trio.current_time() - started >= 1


async def test_a_pause_that_is_too_long_is_an_error_that_says_it() -> None:
    busy = answer("429 Too Many Requests", FAULT, "Retry-After: 3600")
    async with upstream(busy) as server:
        error = await failure(model(server))
    assert (error.retry_after, len(server.requests)) == (3600, 1)


async def test_a_connection_that_closes_without_an_answer_is_tried_again() -> None:
    async with upstream(b"", OPEN_ENDED + text("hi") + STOP) as server:
        assert (await ask(model(server)))[0].text == "hi"


async def test_nobody_there_is_an_error_after_all_attempts() -> None:
    async with upstream() as server:
        url = server.url
    error = await failure(openai_chat(url, "m", KEY, backoff=QUICK))
    assert str(error) == f"{url} can't be reached: Connection refused"
    assert error.status is None


async def test_a_certificate_that_nobody_vouches_for_is_named_as_the_reason() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def handshake(connection: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            await connection.do_handshake()

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, handshake, 0, context, host="127.0.0.1")
        listeners: list[trio.SSLListener[trio.SocketStream]] = await nursery.start(serve)
        listener = listeners[0].transport_listener
        assert isinstance(listener, trio.SocketListener)
        port = listener.socket.getsockname()[1]
        error = await failure(openai_chat(f"https://127.0.0.1:{port}/v1", "m", KEY, retries=0))
        nursery.cancel_scope.cancel("the test is over")
    assert "can't be reached: the server's certificate is not trusted" in str(error)


# Models


async def test_the_models_are_listed() -> None:
    listed = {"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}]}
    async with upstream(answer("200 OK", listed, "Content-Type: application/json")) as server:
        assert await openai_models(server.url, KEY) == ["a", "b"]
    assert server.requests[0].line == "GET /v1/models HTTP/1.1"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"data": [{}]}', b"[" * 90_000])
async def test_a_list_of_models_that_is_none_is_an_error(body: bytes) -> None:
    async with upstream(answer("200 OK", body)) as server:
        with pytest.raises(UpstreamError, match="no list of models; check the base URL"):
            await openai_models(server.url)


# Options


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"base_url": "127.0.0.1:8000"}, "base_url"),
        ({"base_url": "ftp://host/v1"}, "base_url must be like https://HOST/v1"),
        ({"base_url": "http://"}, "base_url"),
        ({"base_url": "http://me:secret@host/v1"}, "base_url must hold no password"),
        ({"base_url": "http://[x/v1"}, "base_url is not a URL"),
        ({"model": ""}, "model must be the name of a model"),
        ({"api_key": "sécret"}, "api_key must be printable ASCII on one line"),
        ({"api_key": "secret\nX: 1"}, "api_key must be printable ASCII on one line"),
        ({"headers": {"X:": "secret"}}, "headers: 'X:' is no name of a header"),
        ({"headers": {"X": "secret\r\n"}}, ""),
        ({"headers": {"X": "a\nsecret"}}, "headers: the value of X must be printable"),
        ({"timeout": 0}, "timeout must be more than 0 seconds"),
        ({"connect_timeout": "1"}, "connect_timeout must be a number of seconds"),
        ({"retries": -1}, "retries must be a whole number of at least 0"),
    ],
)
def test_options_are_checked_and_secrets_not_shown(options: dict[str, Any], problem: str) -> None:
    given = {"base_url": "http://host/v1", "model": "m", **options}
    if not problem:
        assert openai_chat(**given).model == "m"
        return
    with pytest.raises(PipelineError, match="openai_chat: ") as caught:
        openai_chat(**given)
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "sécret" not in str(caught.value)


def test_parameters_that_json_cannot_say_are_refused_where_they_are_given() -> None:
    chat = openai_chat("http://host/v1", "m")
    with pytest.raises(PipelineError, match="can't be said in JSON"):
        chat(HELLO, {"stop": object()})
