"""The real ``openai`` client against a real server: streams, completions, tools, errors, ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk

from .conftest import Launch, StartServer
from .serving import CONFIGS, SERVE, ServerProcess, eventually

KEY = "a-key-for-the-tests-0123456789abcdef"
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture(scope="module")
def chat(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        yield launch(stack, (*SERVE, str(CONFIGS / "chat.py"), "--bind", "127.0.0.1:0"))


@pytest.fixture
def client(chat: ServerProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{chat.url}/v1", api_key="any", max_retries=0, timeout=10) as client:
        yield client


def say(text: str) -> Any:
    return [{"role": "user", "content": text}]


def content(chunk: ChatCompletionChunk) -> str:
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def how_many_ended(server: ServerProcess, name: str) -> int:
    page = server.get("/topics/ended?format=json&after=earliest&limit=1000").json()
    return [event["data"] for event in page["events"]].count(name)


def assert_without_secrets(error: openai.APIError) -> None:
    assert "hunter2" not in str(error)
    assert "internal" not in str(error)


def test_a_stream(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="echo",
        messages=say("one two three"),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(map(content, chunks)) == "one two three "
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * 4 + ["stop"]
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * 5
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 4
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert chunks[0].id.startswith("chatcmpl-")
    assert chunks[0].model == "echo"
    assert abs(chunks[0].created - time.time()) < 60


def test_without_usage_asked_for_there_is_none(client: OpenAI) -> None:
    stream = client.chat.completions.create(model="echo", messages=say("one"), stream=True)
    for chunk in stream:
        assert chunk.choices
        assert "usage" not in chunk.model_fields_set


def test_a_completion(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="echo", messages=say("one two three"))
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content == "one two three "
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1, 3)
    assert answer._request_id is not None
    assert answer.id == f"chatcmpl-{answer._request_id}"


def test_the_asynchronous_client(chat: ServerProcess) -> None:
    async def converse() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(
            base_url=f"{chat.url}/v1", api_key="any", max_retries=0, timeout=10
        ) as client:
            answer = await client.chat.completions.create(model="echo", messages=say("four five"))
            stream = await client.chat.completions.create(
                model="echo", messages=say("six seven"), stream=True
            )
            said = "".join([content(chunk) async for chunk in stream])
            return answer.choices[0].message.content, said

    # On Trio the client leaves async generators of its own to the garbage collector.
    assert asyncio.run(converse()) == ("four five ", "six seven ")


def test_tool_calls(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="tools", messages=say("?"), tools=[TOOL])
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.content == "I look."
    assert getattr(message, "reasoning_content", None) == "hm, a tool"
    assert message.tool_calls is not None
    functions: list[Any] = [call for call in message.tool_calls if call.type == "function"]
    assert [call.function.name for call in functions] == ["weather", "weather"]
    assert [json.loads(call.function.arguments)["city"] for call in functions] == ["Ulm", "Graz"]
    assert functions[0].id == "call_a"
    assert functions[1].id.startswith("call_")


def test_tool_calls_in_a_stream(client: OpenAI) -> None:
    """The client's own way of putting the pieces together gives the whole calls."""
    with client.chat.completions.stream(model="tools", messages=say("?"), tools=[TOOL]) as stream:
        for _ in stream:
            pass
        whole = stream.get_final_completion()
    calls: Any = whole.choices[0].message.tool_calls
    assert [call.function.arguments for call in calls] == ['{"city":"Ulm"}', '{"city":"Graz"}']
    assert [call.function.name for call in calls] == ["weather", "weather"]
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.choices[0].message.content == "I look."


def test_what_the_model_is_given(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="parameters",
        messages=[
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                ],
            },
        ],
        temperature=0.5,
        stop=["end"],
        max_completion_tokens=10,
        extra_body={"top_k": 3},
    )
    said = json.loads(answer.choices[0].message.content or "")
    assert said["parameters"] == {
        "temperature": 0.5,
        "stop": ["end"],
        "max_completion_tokens": 10,
        "top_k": 3,
    }
    assert said["messages"][0] == {"role": "system", "content": "Be brief."}
    assert said["messages"][1]["content"][1]["image_url"]["url"] == "data:image/png;base64,AA=="


def test_the_models(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[:2] == ["echo", "slow"]
    model = client.models.retrieve("echo")
    assert (model.id, model.object) == ("echo", "model")
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nobody")
    assert caught.value.code == "model_not_found"


# Errors


def test_an_unknown_model(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=say("?"))
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert caught.value.type == "invalid_request_error"


def test_malformed_requests(client: OpenAI) -> None:
    for wrong, param in (
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "nobody", "content": "?"}]}, "messages[0].role"),
        ({"messages": say("?"), "n": 2}, "n"),
        ({"messages": say("?"), "temperature": "hot"}, "temperature"),
    ):
        request: Any = {"model": "echo", **wrong}
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**request)
        assert caught.value.param == param
        assert caught.value.type == "invalid_request_error"


def test_a_request_that_is_too_large(client: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="echo", messages=say("x" * 100_000))
    assert caught.value.status_code == 413
    assert caught.value.type == "invalid_request_error"


def test_a_model_that_fails_at_once(client: OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="broken", messages=say("?"), stream=stream)
        assert caught.value.status_code == 500
        assert caught.value.type == "server_error"
        assert_without_secrets(caught.value)


def test_a_model_that_fails_in_the_middle(client: OpenAI) -> None:
    stream = client.chat.completions.create(model="breaks", messages=say("?"), stream=True)
    said = ""
    with pytest.raises(openai.APIError) as caught:
        for chunk in stream:
            said += content(chunk)
    assert said == "So far"
    assert_without_secrets(caught.value)
    assert caught.value.type == "server_error"
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="breaks", messages=say("?"))


def test_an_upstream_that_fails(client: OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="upstream", messages=say("?"), stream=stream)
        assert caught.value.status_code == 502
        assert caught.value.code == "upstream_error"
        assert_without_secrets(caught.value)
    longer: Any = say("?") * 2
    chunks = client.chat.completions.create(model="upstream", messages=longer, stream=True)
    with pytest.raises(openai.APIError) as in_stream:
        list(chunks)
    assert in_stream.value.code == "upstream_error"
    assert_without_secrets(in_stream.value)


def test_too_many_answers_at_a_time(client: OpenAI) -> None:
    stream = client.chat.completions.create(model="single", messages=say("?"), stream=True)
    with stream:
        next(iter(stream))
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="single", messages=say("?"))
    assert caught.value.code == "rate_limit_exceeded"
    assert int(caught.value.response.headers["retry-after"]) > 0


def test_keys(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEYS", "1")
    with ExitStack() as stack:
        config = str(CONFIGS / "chat.py")
        guarded = launch(stack, (*SERVE, config, "--bind", "127.0.0.1:0"))
        new = stack.enter_context
        base = f"{guarded.url}/v1"
        good = new(OpenAI(base_url=base, api_key=KEY, max_retries=0))
        bad = new(OpenAI(base_url=base, api_key="another", max_retries=0))
        assert [model.id for model in good.models.list()] == ["echo", "slow"]
        answer = good.chat.completions.create(model="echo", messages=say("yes"))
        assert answer.choices[0].message.content == "yes "
        with pytest.raises(openai.PermissionDeniedError) as denied:
            good.chat.completions.create(model="tools", messages=say("?"))
        assert denied.value.code == "insufficient_permissions"
        with pytest.raises(openai.AuthenticationError) as refused:
            bad.chat.completions.create(model="echo", messages=say("?"))
        assert refused.value.code == "invalid_api_key"
        nothing = guarded.client.get(f"{base}/models")
        assert nothing.status_code == 401
        assert nothing.json()["error"]["code"] == "invalid_api_key"


# Ends


def test_a_client_that_closes_its_stream_ends_the_model(
    client: OpenAI, chat: ServerProcess
) -> None:
    before = how_many_ended(chat, "slow")
    stream = client.chat.completions.create(model="slow", messages=say("?"), stream=True)
    for number, _ in enumerate(stream):
        if number == 5:
            break
    stream.close()
    eventually(lambda: how_many_ended(chat, "slow") > before, timeout=1.0)


def test_a_client_that_gives_up_waiting_ends_the_model(client: OpenAI, chat: ServerProcess) -> None:
    before = how_many_ended(chat, "slow")
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="slow", messages=say("?"), timeout=0.3)
    eventually(lambda: how_many_ended(chat, "slow") > before, timeout=1.0)


def test_an_answer_that_may_outlive_its_reader_is_read_on_as_a_job(
    client: OpenAI, chat: ServerProcess
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="lasting", messages=say("?"), stream=True
    )
    location = raw.headers["location"]
    stream = raw.parse()
    seen = ""
    for chunk in stream:
        seen += content(chunk)
        if len(seen) > 10:
            break
    stream.close()
    chat.client.post(f"{chat.url}/open")

    def whole() -> Any:
        page = chat.get(f"{location}?format=json&limit=1000").json()
        return page if page["status"] == "done" else None

    page = eventually(whole)
    text = "".join(event["data"].get("text", "") for event in page["events"])
    assert text == "".join(f"{number} " for number in range(50))
    assert text.startswith(seen)
    assert page["events"][-1]["data"]["finish_reason"] == "stop"


def test_a_request_with_a_key_that_is_sent_again_runs_once(
    client: OpenAI, chat: ServerProcess
) -> None:
    """The client sends no key of its own, but does with every request that is given one."""
    before = chat.stats()["jobs"]["echo"]["started"]
    answers = [
        client.chat.completions.with_raw_response.create(
            model="echo",
            messages=say("once"),
            extra_headers={"Idempotency-Key": "the-same"},
        )
        for _ in range(2)
    ]
    assert answers[0].parse().id == answers[1].parse().id
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert chat.stats()["jobs"]["echo"]["started"] == before + 1


def test_a_shutdown_is_told_in_mid_answer(start_server: StartServer) -> None:
    server = start_server("chat.py", "--grace", "1")
    with OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        stream = client.chat.completions.create(model="slow", messages=say("?"), stream=True)
        next(iter(stream))
        server.signal()
        with pytest.raises(openai.APIError) as caught:
            list(stream)
    assert "shut down" in str(caught.value)
    assert server.wait(10) == 0


def test_a_page_s_preflight_may_send_what_the_client_s_javascript_sends(
    chat: ServerProcess,
) -> None:
    answer = httpx.options(
        f"{chat.url}/v1/chat/completions",
        headers={
            "origin": "https://friend.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,x-stainless-os,x-other",
        },
    )
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert "x-stainless-os" in allowed
    assert "authorization" in allowed
    assert "x-other" not in allowed
