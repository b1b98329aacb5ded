"""The addresses that clients of other APIs know: ``/v1/…`` as OpenAI's, ``/api/chat`` as the UI
message stream's. All errors are in OpenAI's words.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from .access_log import Answer
from .admission import Admission
from .aside import work_on
from .compat import (
    UI_HEADER,
    Answering,
    BadChatRequest,
    ChatModel,
    Chats,
    UIFraming,
    UIRequest,
    error_of,
    model_not_found,
    parse_openai_request,
    parse_ui_request,
)
from .grants import Grant
from .hub import Hub
from .jobs import JobRun
from .transports.chat import (
    answer_whole,
    framing_of,
    start_answer,
    stream_answer,
    was_cancelled,
)
from .transports.http import (
    ClientGone,
    Headers,
    Problem,
    Request,
    Send,
    header_of,
    respond_empty,
    respond_json,
)
from .transports.request_values import parser_for, read_body

_PATH = re.compile(
    r"/(?:(?P<completions>v1/chat/completions)|(?P<models>v1/models)|v1/models/(?P<model>[^/]+)"
    r"|(?P<chat>api/chat)|api/chat/(?P<resumed>.+)/stream)/?"
)
_POST, _GET = b"POST, OPTIONS", b"GET, HEAD, OPTIONS"
_ALLOWED = {
    "completions": _POST,
    "models": _GET,
    "model": _GET,
    "chat": _POST,
    "resumed": _GET,
}
_WHAT = "A chat request"
_OWNER = "penstock"
# What OpenAI's own clients send from a page, besides what any may.
_CLIENT_HEADERS = re.compile(r"x-stainless-[a-z-]{1,40}|openai-[a-z-]{1,40}|user-agent")


class CompatRoutes:
    """Serves the chat models at those addresses, where there are any."""

    def __init__(self, hub: Hub, admission: Admission) -> None:
        self._hub = hub
        self._admission = admission
        self._chats = Chats(hub.jobs.find)
        self._created = int(time.time())

    def serves(self, path: str) -> bool:
        """Whether a path is one of these; without any chat model, they are free for others."""
        return path.startswith(("/v1/", "/api/")) and bool(_PATH.fullmatch(path) and self._models)

    @property
    def _models(self) -> dict[str, ChatModel]:
        declared = self._hub.jobs.declared.items()
        return {name: job for name, job in declared if isinstance(job, ChatModel)}

    async def serve(self, request: Request, send: Send) -> None:
        """Answer one request."""
        match = _PATH.fullmatch(request.scope["path"])
        assert match is not None, "only what `serves` says is served"
        kind = match.lastgroup or ""
        head = request.method == "HEAD"
        cors = [*self._admission.cors(request.scope), *_client_headers(request)]
        answer = Answer(request.scope, send)
        allow = (b"allow", _ALLOWED[kind])
        try:
            if request.method == "OPTIONS":
                await respond_empty(answer, 204, [allow, *cors])
                return
            request.grant = await self._admission.admit(request.scope)
            if request.method not in _ALLOWED[kind].decode().split(", "):
                method = "POST" if _ALLOWED[kind] is _POST else "GET"
                raise Problem(405, "Method Not Allowed", f"This is asked with {method}.", [allow])
            await self._serve(kind, match[kind], request, send, answer, cors)
        except BadChatRequest as fault:
            error = error_of(fault.status, fault.message, fault.param, fault.code)
            await respond_json(answer, fault.status, error, cors, head=head)
        except Problem as problem:
            error = error_of(problem.status, problem.detail)
            headers = [*problem.headers, *cors]
            await respond_json(answer, problem.status, error, headers, head=head)
        except ClientGone:
            return

    async def _serve(
        self, kind: str, name: str, request: Request, send: Send, answer: Send, cors: Headers
    ) -> None:
        head = request.method == "HEAD"
        match kind:
            case "models":
                permitted = filter(request.grant.may_run, self._models)
                models = [self._listed(model) for model in permitted]
                await respond_json(answer, 200, {"object": "list", "data": models}, cors, head=head)
            case "model":
                model = self._model(name, request.grant)
                await respond_json(answer, 200, self._listed(model.name), cors, head=head)
            case "completions":
                await self._complete(request, send, answer, cors)
            case "chat":
                await self._chat(request, send, cors)
            case _:
                await self._resume(name, request, send, answer, cors)

    # Models

    def _model(self, name: str, grant: Grant) -> ChatModel:
        """The model. Raises `Problem`: who has no right to it is told so, be there one or not; and
        `BadChatRequest`.
        """
        self._admission.require(grant, grant.may_run(name), f"ask model {name[:64]}")
        model = self._models.get(name)
        if model is None:
            raise model_not_found(name)
        return model

    def _usual_model(self, grant: Grant) -> ChatModel:
        """The first that this client may ask. Raises `Problem`."""
        permitted = (model for name, model in self._models.items() if grant.may_run(name))
        model = next(permitted, None)
        self._admission.require(grant, model is not None, "ask any model")
        assert model is not None, "else that has raised"
        return model

    def _listed(self, name: str) -> Mapping[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": _OWNER}

    # Answers

    async def _body(self, request: Request) -> bytes:
        parser_for(request, ("application/json",), _WHAT)  # before any work on the body
        return await read_body(self._hub, request, _WHAT)

    async def _complete(self, request: Request, send: Send, answer: Send, cors: Headers) -> None:
        body = await self._body(request)
        asked = await work_on(body, parse_openai_request)
        model = self._model(asked.model, request.grant)
        run, headers = start_answer(self._hub, model, asked.chat, body, request)
        headers = [*headers, *cors]
        if asked.stream:
            framing = framing_of(run, include_usage=asked.include_usage)
            await stream_answer(self._hub, run, framing, request, send, headers)
        else:
            await answer_whole(self._hub, run, request, answer, headers)

    async def _chat(self, request: Request, send: Send, cors: Headers) -> None:
        body = await self._body(request)
        asked = await work_on(body, parse_ui_request)
        grant = request.grant
        model = self._usual_model(grant) if asked.model is None else self._model(asked.model, grant)
        run, headers = start_answer(self._hub, model, asked.request, body, request)
        message, continues = asked.message or f"msg-{run.id}", asked.message is not None
        answering = Answering(model.name, run.id, message, continues)
        self._note(asked, grant, answering, run)
        await self._stream_ui(run, answering, request, send, [*headers, *cors])

    def _note(self, asked: UIRequest, grant: Grant, answering: Answering, run: JobRun) -> None:
        """Remember what answers a chat; what has answered it until now, and nobody reads, ends."""
        if asked.chat is None:
            return
        before = self._chats.running(grant.subject, asked.chat)
        if before is not None and before[0] is not run and not len(before[0].topic.audience):
            before[0].cancel("its chat has gone on")
        self._chats.begin(grant.subject, asked.chat, answering)

    async def _resume(
        self, chat: str, request: Request, send: Send, answer: Send, cors: Headers
    ) -> None:
        running = self._chats.running(request.grant.subject, chat)
        if running is None:
            await respond_empty(answer, 204, cors)
            return
        run, answering = running
        self._model(answering.job, request.grant)
        location = (b"location", quote(run.path).encode())
        await self._stream_ui(run, answering, request, send, [location, *cors])

    async def _stream_ui(
        self, run: JobRun, answering: Answering, request: Request, send: Send, headers: Headers
    ) -> None:
        cancelled = partial(was_cancelled, run)
        framing = UIFraming(answering.message, answering.continues, cancelled)
        await stream_answer(self._hub, run, framing, request, send, [UI_HEADER, *headers])


def _client_headers(request: Request) -> Headers:
    """In the answer to a preflight: those headers of OpenAI's clients that it asks for."""
    if request.method != "OPTIONS":
        return []
    asked = header_of(request.scope["headers"], "access-control-request-headers") or ""
    names = (name.strip().lower() for name in asked.split(","))
    known = [name for name in names if _CLIENT_HEADERS.fullmatch(name)]
    return [(b"access-control-allow-headers", ", ".join(known).encode())] if known else []
