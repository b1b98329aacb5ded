"""A chat model's answer, in the formats of other APIs: as a stream of chunks, or as one completion.

Before the head of a stream goes out, its first piece is waited for, for a moment: an answer that
fails at once so fails with a status that says it. From then on the run is followed as any job's is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Any

import trio

from ..compat import BadChatRequest, ChatModel, ChatRequest, ChunkFraming, completion_of
from ..connections import Connection
from ..fanout import Framing
from ..hub import Hub
from ..jobs import JobRun
from ..log import StoredEvent, Trimmed
from ..wake import Wake
from .http import ClientGone, Headers, Problem, Request, Send, respond_json
from .jobs import follow_run, start_run
from .streaming import Presentation, stream_log

_HEAD_WAIT = 1.0
"""Seconds for which the head of an answer waits for the model's first word."""

_AT_ONCE_EVENTS = 2000
"""As many are put together right away; more, in a thread."""


def start_answer(
    hub: Hub, model: ChatModel, chat: ChatRequest, body: bytes, request: Request
) -> tuple[JobRun, Headers]:
    """A run that answers, and the headers of its answer; `body` is the request's, as it came.

    Raises `Problem`, see `start_run`.
    """
    run, replayed = start_run(hub, model, model.conversation(chat), body, request)
    return run, [
        (b"location", run.path.encode()),
        (b"x-request-id", run.id.encode()),
        *replayed,
    ]


def framing_of(run: JobRun, *, include_usage: bool) -> ChunkFraming:
    """How a run's answer is told in chunks."""
    return ChunkFraming(
        completion_id(run),
        run.created,
        run.job.name,
        include_usage=include_usage,
        cancelled=partial(was_cancelled, run),
    )


def completion_id(run: JobRun) -> str:
    """The id of a run's answer in OpenAI's API."""
    return f"chatcmpl-{run.id}"


def was_cancelled(run: JobRun) -> bool:
    """Whether it has ended without a word of why."""
    return run.status == "cancelled" and run.error is None


async def stream_answer(
    hub: Hub, run: JobRun, framing: Framing, request: Request, send: Send, headers: Headers
) -> None:
    """Answer with a run's log, from its beginning, in this framing.

    Raises `BadChatRequest` where the run has failed before its first piece, and `ClientGone`.
    Cancelled, the reader is gone, which may cancel the run.
    """
    topic = run.topic
    leave = topic.audience.enter()  # until it is counted among the readers
    try:
        run.begin()
        await _first_event(run, request)
        failure = _failure(run)
        if failure is not None and topic.log.bounds().last == 1:  # it is all that there is
            raise failure
        presentation = Presentation(
            framing,
            b"text/event-stream",
            "sse",
            hub.start_of(topic, "earliest"),
            "skip",
            headers,
            joined=leave,
            tells_errors=True,
        )
        await follow_run(hub, run, partial(stream_log, hub, topic, presentation, request, send))
    finally:
        leave()


async def answer_whole(
    hub: Hub, run: JobRun, request: Request, send: Send, headers: Headers
) -> None:
    """Answer with a completion, once the run has ended.

    Raises `BadChatRequest` where it has failed, `Problem` where it was cancelled or the client's
    token is no good any more, and `ClientGone`. Cancelled, the reader is gone, which may cancel
    the run.
    """
    connection = Connection("json", request.client, due=inf, grant=request.grant)
    disconnect = hub.connect(connection)
    topic = run.topic
    connection.leave["watch"] = topic.log.watch(connection.wake.set)
    connection.leave["audience"] = topic.audience.enter()

    async def until_over() -> None:
        while not (topic.log.bounds().ended or hub.farewell or _is_unwelcome(connection)):
            await connection.wake.wait()

    try:
        run.begin()
        await _unless_gone(request, until_over)
    finally:
        disconnect()
    if _is_unwelcome(connection):
        raise Problem(401, "Unauthorized", "The token has expired, or was revoked.")
    failure = _failure(run)
    if failure is not None:
        raise failure
    if run.status != "done":
        raise Problem(500, "Cancelled", "The answer was cancelled before it was whole.")
    await respond_json(send, 200, await _completion(run), headers)


def _is_unwelcome(connection: Connection) -> bool:
    return connection.ending in ("expired", "revoked")


async def _completion(run: JobRun) -> Any:
    events = _events(run)
    make = partial(completion_of, completion_id(run), run.created, run.job.name, events)
    if len(events) <= _AT_ONCE_EVENTS:
        return make()
    return await trio.to_thread.run_sync(make, abandon_on_cancel=True)


def _events(run: JobRun) -> list[StoredEvent]:
    log = run.topic.log
    events = log.read(0, log.bounds().last)
    if isinstance(events, Trimmed):  # it was forgotten while its end was waited for
        raise Problem(500, "Gone", "The answer is not kept any more; ask again.")
    return events


async def _first_event(run: JobRun, request: Request) -> None:
    """Wait for the first piece of an answer, or its end, for a moment. Raises `ClientGone`."""
    log = run.topic.log
    if log.bounds().last or log.bounds().ended:
        return
    appended = Wake()
    unwatch = log.watch(appended.set)
    try:
        with trio.move_on_after(_HEAD_WAIT):
            await _unless_gone(request, appended.wait)
    finally:
        unwatch()


async def _unless_gone(request: Request, wait: Callable[[], Awaitable[object]]) -> None:
    """Wait as long as the client is there. Raises `ClientGone`."""
    if not await request.while_there(wait):
        raise ClientGone


def _failure(run: JobRun) -> BadChatRequest | None:
    """What a run has failed with, as the answer to its request; None where it hasn't."""
    problem = run.error
    if problem is None:
        return None
    return BadChatRequest(problem["detail"], code=problem.get("code"), status=problem["status"])
