"""What may be declared as a chat model, and what its runs are."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import penstock as ps
from penstock.net import UpstreamError, openai_chat
from penstock.wire import ChatMessage
from penstock_server import Server
from penstock_server.compat import ChatModel, ChatRequest

MESSAGES = [ChatMessage("user", "?")]
PARAMETERS = {"temperature": 1}


def declared(function: Any) -> ChatModel:
    return Server().chat_model("m")(function)


def stream_of(model: ChatModel) -> ps.Stream[Any]:
    return model.stream(model.conversation(ChatRequest(MESSAGES, PARAMETERS)))


def of_both(messages: Sequence[ChatMessage], parameters: Mapping[str, Any]) -> ps.Stream[str]:
    return ps.from_iterable([messages[0].text, str(parameters["temperature"])])


def of_messages(messages: Sequence[ChatMessage]) -> ps.Stream[str]:
    return ps.from_iterable([messages[0].text])


def of_many(*given: Any) -> ps.Stream[str]:
    return ps.from_iterable([str(len(given))])


class Callable:
    def __call__(self, messages: Any, parameters: Any = None) -> ps.Stream[str]:
        return of_both(messages, parameters)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (of_both, "?1"),
        (of_messages, "?"),
        (of_many, "2"),
        (Callable(), "?1"),
        (partial(of_many, "one"), "3"),
    ],
)
def test_functions_of_messages_with_or_without_parameters(function: Any, said: str) -> None:
    assert "".join(ps.run(stream_of(declared(function)).to(ps.collect()))) == said


def test_a_model_from_elsewhere_fits() -> None:
    upstream = openai_chat("http://127.0.0.1:9/v1", "m")
    assert isinstance(stream_of(declared(upstream)), ps.Stream)


def three(a: Any, b: Any, c: Any) -> ps.Stream[str]:
    return ps.from_iterable([a, b, c])


def none() -> ps.Stream[str]:
    return ps.from_iterable([])


def by_name(messages: Any, *, parameters: Any) -> ps.Stream[str]:
    return ps.from_iterable([])


async def coroutine(messages: Any) -> None: ...


@pytest.mark.parametrize("function", [three, none, by_name, coroutine, None, "text"])
def test_what_is_no_such_function(function: Any) -> None:
    with pytest.raises(ps.PipelineError, match="chat model 'm'"):
        declared(function)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_deltas": 0}, "max_deltas"),
        ({"max_bytes": True}, "max_bytes"),
        ({"max_running": 0}, "max_running"),
        ({"detach": -1}, "detach"),
        ({"keep": "long"}, "keep"),
        ({"stall_timeout": 0}, "stall_timeout"),
    ],
)
def test_options_that_are_wrong_are_named(options: Any, named: str) -> None:
    with pytest.raises(ps.PipelineError, match=named):
        Server().chat_model("m", **options)


def test_the_documented_defaults() -> None:
    page = (Path(__file__).parents[3] / "docs/llm.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (`None`|[\d,]+) \|", page, re.MULTILINE))
    parameters = inspect.signature(Server.chat_model).parameters.values()
    assert {
        name: ast.literal_eval(value.strip("`").replace(",", "")) for name, value in rows.items()
    } == {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}


def test_names() -> None:
    server = Server()
    server.chat_model("gpt-5.mini")(of_messages)
    server.job("taken")
    for name in ("gpt-5.mini", "taken", "a/b", "", "x" * 65):
        with pytest.raises(ps.PipelineError):
            server.chat_model(name)
    assert isinstance(server.jobs["gpt-5.mini"], ChatModel)


def test_a_second_function_is_refused() -> None:
    model = declared(of_messages)
    with pytest.raises(ps.PipelineError, match="already"):
        model(of_both)


def test_what_gives_no_stream_fails_when_it_is_asked() -> None:
    model = declared(lambda messages: [1, 2])
    with pytest.raises(ps.PipelineError):
        stream_of(model)


def test_how_failures_end_an_answer() -> None:
    model = declared(of_messages)
    body = model.conversation(ChatRequest(MESSAGES))

    def problem(error: Exception) -> Any:
        return model.conclude(body, error).problem

    internal = UpstreamError("https://inside.example said sk-12", 500)
    wrapped = ps.StageError("openai_chat", internal)
    group = ExceptionGroup("several", [ValueError("a"), wrapped])
    for error in (internal, wrapped, group):
        assert problem(error)["status"] == 502
        assert "inside" not in str(problem(error))
    too_long = UpstreamError("?", 400, "context_length_exceeded")
    assert problem(too_long)["status"] == 400
    assert problem(ValueError("secret"))["status"] == 500
    assert "secret" not in str(problem(ValueError("secret")))
    assert model.conclude(body, None).problem is None
