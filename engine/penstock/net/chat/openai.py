"""A model behind OpenAI's API, or anything that speaks it, as a producer of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx

from penstock import _options as options
from penstock._backoff import Backoff
from penstock._spec import Sender
from penstock.producers.custom import producer
from penstock.stream import Stream
from penstock.wire.chat import ChatDelta, ChatMessage
from penstock.wire.openai import (
    AnswerReader,
    Failed,
    Fault,
    Unreadable,
    read_fault,
    read_models,
    request_body,
    short,
)

from ..failures import system_error
from ..http import in_one_piece, media_type_of, pieces_of, unasked_coding
from .upstream import (
    DEFAULT_BACKOFF,
    DEFAULT_CONNECT_TIMEOUT,
    DEFAULT_TIMEOUT,
    Upstream,
    ask,
    bounded_body,
    make_upstream,
)

_EVENT_STREAM = "text/event-stream"
_MAX_MODELS_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class OpenAIChat:
    """A model of an upstream, to be called with a conversation; made by `openai_chat`.

    Its ``repr`` shows where it is and the model, and no key.
    """

    upstream: Upstream = field(repr=False)
    model: str
    defaults: Mapping[str, Any] = field(repr=False)
    include_usage: bool = field(repr=False)
    __name__ = "openai_chat"

    def __repr__(self) -> str:
        return f"<openai_chat {self.model!r} at {self.upstream.place}>"

    def __call__(
        self, messages: Sequence[ChatMessage], parameters: Mapping[str, Any] | None = None
    ) -> Stream[ChatDelta]:
        """The answer to a conversation, as a `Stream` of deltas; each run of it asks anew.

        Args:
            messages: the conversation.
            parameters: further fields of the request, such as ``temperature``, ``max_tokens`` and
                ``tools``; they win over the defaults. ``model``, ``n``, ``stream`` and
                ``stream_options`` are not taken from here.

        Raises `PipelineError` where they can't be said in JSON. Running raises `StageError` from
        `UpstreamError`; cancelling the run closes the request at once.
        """
        try:
            body = request_body(
                self.model,
                messages,
                {**self.defaults, **(parameters or {})},
                include_usage=self.include_usage,
            )
        except (TypeError, ValueError, RecursionError) as error:
            raise options.refuse("openai_chat", f"can't be said in JSON: {error}") from error
        return _answer(self.upstream, body)


def openai_chat(
    base_url: str,
    model: str,
    api_key: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    retries: int = 2,
    backoff: Backoff = DEFAULT_BACKOFF,
    include_usage: bool = True,
    **defaults: Any,
) -> OpenAIChat:
    """A model elsewhere: a function of messages and parameters that gives a `Stream` of its answer.

    It fits a server directly: ``server.chat_model("name")(openai_chat(…))``. What is not read is
    not taken from the upstream, but for some buffers. Tokens are never asked for twice: a failure
    is tried again only before the answer has begun.

    Args:
        base_url: what the official client takes, such as ``https://api.openai.com/v1``.
        model: its name there.
        api_key: sent as ``Authorization: Bearer``; it is in no error, ``repr`` or log.
        headers: further headers of each request.
        timeout: seconds without a byte, before the answer and in it, after which it has failed.
        connect_timeout: seconds for a connection.
        retries: how often to try again where there is no connection, or the answer is 408, 409,
            425, 429 or 5xx.
        backoff: the waits in between; ``Retry-After`` makes them longer, up to a minute.
        include_usage: ask for the number of tokens; False for an upstream that can't tell.
        defaults: fields of each request, such as ``temperature=0.2``.

    Raises `PipelineError` for an option that is wrong. Running an answer raises `StageError` from
    `UpstreamError`: a status other than 200, a redirect, another media type, an error in the
    stream, a chunk that is none or over 1 MiB, a stall, an end without ``[DONE]`` or a reason.
    """
    if not model:
        raise options.refuse("openai_chat", "model must be the name of a model, got nothing")
    upstream = make_upstream(
        "openai_chat",
        base_url,
        api_key,
        headers,
        timeout=timeout,
        connect_timeout=connect_timeout,
        retries=retries,
        backoff=backoff,
    )
    return OpenAIChat(upstream, model, dict(defaults), include_usage)


async def openai_models(
    base_url: str,
    api_key: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    retries: int = 0,
) -> list[str]:
    """The names of the models that an upstream has. The options are those of `openai_chat`.

    Raises `UpstreamError`, and `PipelineError` for an option that is wrong.
    """
    upstream = make_upstream("openai_models", base_url, api_key, headers, retries=retries)
    async with upstream.client() as client:
        request = client.build_request("GET", upstream.target("models"))
        async with aclosing(await ask(client, upstream, request)) as response:
            body = await bounded_body(upstream, response, _MAX_MODELS_BYTES)
    try:
        return read_models(body)
    except Unreadable as error:
        problem = "answered with something that is no list of models; check the base URL"
        raise upstream.failure(problem, response.status_code) from error


async def _ask_and_pass_on(send: Sender[ChatDelta], upstream: Upstream, body: bytes) -> None:
    async with upstream.client() as client:
        request = client.build_request(
            "POST",
            upstream.target("chat/completions"),
            content=body,
            headers={"Content-Type": "application/json", "Accept": _EVENT_STREAM},
        )
        async with aclosing(await ask(client, upstream, in_one_piece(request))) as response:
            await _require_event_stream(upstream, response)
            await _pass_on(send, upstream, response)


_ask_and_pass_on.__name__ = "openai_chat"  # what the stage is shown by
_answer = producer(_ask_and_pass_on)


async def _require_event_stream(upstream: Upstream, response: httpx.Response) -> None:
    media_type = media_type_of(response)
    if unasked_coding(response):
        raise upstream.failure("sent a compressed answer, which was not asked for", 200)
    if media_type == _EVENT_STREAM:
        return
    # Some report an error with status 200.
    fault = Fault()
    if media_type == "application/json":
        fault = read_fault(await bounded_body(upstream, response))
    given = media_type or "without a type"
    said = f": {fault.message}" if fault.message else "; check the base URL, mostly ending in /v1"
    raise upstream.failure(
        f"gave an answer that is {given}, not {_EVENT_STREAM}{said}", 200, fault.code
    )


async def _pass_on(send: Sender[ChatDelta], upstream: Upstream, response: httpx.Response) -> None:
    reader = AnswerReader()
    try:
        async with aclosing(pieces_of(response)) as pieces:
            async for piece in pieces:
                for delta in reader.feed(piece):
                    await send(delta)
                if reader.over:
                    return
    except Failed as failed:
        fault = failed.fault
        said = f": {fault.message}" if fault.message else ""
        raise upstream.failure(f"failed in mid-answer{said}", 200, fault.code) from failed
    except Unreadable as error:
        raise upstream.failure(
            f"sent something that is no chunk of an answer: {error}", 200
        ) from error
    except httpx.RequestError as error:
        if not reader.complete:
            raise upstream.failure(_broken(upstream, error), 200) from error
    if not reader.complete:
        raise upstream.failure("ended its answer in mid-way, without saying why", 200)


def _broken(upstream: Upstream, error: httpx.RequestError) -> str:
    if isinstance(error, httpx.ReadTimeout):
        return f"stalled in mid-answer: nothing came for {upstream.timeout:g} s"
    return f"broke off in mid-answer: {short(system_error(error))}"
