"""``/jobs/…``: starting a job, reading a run of it, and cancelling it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from hashlib import sha256
from math import ceil
from typing import Any

import msgspec

from ..connections import Ending
from ..encoding import Invalid
from ..hub import Hub
from ..idempotency import check_key
from ..jobs import RETRY_AFTER, Job, JobNotRunning, JobRun, TooManyJobs
from ..refusals import Refusal
from .asking import policy_of, position_asked
from .http import Headers, Problem, Request, Send, respond_empty
from .longpoll import page_asked, page_topic
from .negotiation import Format
from .publish import problem_of
from .request_values import idempotency_key, parse_values, parser_for, read_body
from .streaming import stream_topic

logger = logging.getLogger("penstock.server")

_BODIES = ("application/json", "application/msgpack")
_WHAT = "The body of a job"
_A_MOMENT = 5.0
"""Seconds that a client has to come back, besides the wait that it was told."""


async def start_job(
    hub: Hub, job: Job[Any], format_: Format, request: Request, send: Send, cors: Headers
) -> None:
    """Start a run with the request's body and stream its output.

    Asked to respond asynchronously it only says where the run is; a page of JSON holds what there
    is so far. Raises `Problem`. Cancelled while it streams, the reader is gone, which may cancel
    the run.
    """
    _check_reading(job, format_, request)  # else a run would be started that nobody reads
    value = await _value(hub, request)
    run, replayed = start_run(hub, job, checked_body(job, value), value, request)
    headers = [(b"location", run.path.encode()), *replayed, *cors]
    if prefers_async(request):
        run.begin()
        await respond_empty(send, 202, [(b"preference-applied", b"respond-async"), *headers])
        return
    if format_ == "json":
        run.begin()
    await read_run(hub, run, format_, request, send, headers)


async def read_run(
    hub: Hub, run: JobRun, format_: Format, request: Request, send: Send, headers: Headers
) -> None:
    """Answer with a run's log, from its beginning where the client doesn't say."""
    if format_ == "json":
        run.touch()
        await page_topic(
            hub,
            run.topic,
            request,
            send,
            headers,
            default="earliest",
            # Between two polls nobody would read it, and it would not outlive the first.
            attends=run.job.options.detach > 0,
            more=lambda: _state(run),
        )
        return
    stream = partial(
        stream_topic,
        hub,
        run.topic,
        format_,
        request,
        send,
        headers,
        default="earliest",
        joined=run.begin,
    )
    await follow_run(hub, run, stream)


async def follow_run(hub: Hub, run: JobRun, stream: Callable[[], Awaitable[Ending | None]]) -> None:
    """Let a client read a run by a `stream` of its log, as `stream_log` is one.

    The stream is to call `JobRun.begin` as soon as the client counts as a reader. Raises what it
    raises.
    """
    with run.expecting_reader():
        ending = await stream()
    if ending in ("age", "slow"):  # the client was told to come back, and is given the time
        run.be_patient(hub.timing.retry + hub.timing.reconnect_spread + _A_MOMENT)


async def cancel_run(run: JobRun, send: Send, cors: Headers) -> None:
    """Cancel a run and answer 204; one that is over stays as it is."""
    run.cancel()
    await respond_empty(send, 204, cors)


def start_run(
    hub: Hub, job: Job[Any], body: object, value: object, request: Request
) -> tuple[JobRun, Headers]:
    """A run with this body, and the headers that say whether it was there already.

    `value` is the body as the client said it. Raises `Problem`: 429 where too many run, 503 while
    the server starts or goes away, 400 and 422 for an ``Idempotency-Key``.
    """
    key, scope = idempotency_key(request), request.grant.subject
    digest = sha256(msgspec.msgpack.encode(value)).digest() if key is not None else b""
    retry_after = [(b"retry-after", str(ceil(RETRY_AFTER)).encode())]
    try:
        if key is not None:
            check_key(key)
            known = hub.jobs.repeated(job.name, scope, key, digest)
            if known is not None:
                return known, [(b"idempotent-replayed", b"true")]
        run = hub.jobs.start(job, body)
    except Refusal as refusal:
        raise problem_of(refusal) from refusal
    except TooManyJobs as fault:
        detail = f"Try again later: {fault}."
        raise Problem(429, "Too Many Jobs", detail, retry_after) from fault
    except JobNotRunning as fault:
        detail = f"Try again later: {fault}."
        raise Problem(503, "Not Ready", detail, retry_after) from fault
    if key is not None:
        hub.jobs.remember(run, scope, key, digest)
    return run, []


def checked_body(job: Job[Any], value: object) -> object:
    """What a client's value is to the job's function. Raises `Problem` 422 with the field's path,
    and 500 where the type itself fails on it.
    """
    try:
        return job.body(value)
    except Invalid as fault:
        at = {"path": fault.path, "detail": fault.problem}
        detail = f"The body at {fault.path}: {fault.problem}."
        raise Problem(422, "Invalid Body", detail, errors=[at]) from fault
    except Exception as error:
        logger.exception("job %s: its type failed on a body", job.name)
        detail = "The job's type failed on the body; the server's log has the error."
        raise Problem(500, "Internal Server Error", detail) from error


def _check_reading(job: Job[Any], format_: Format, request: Request) -> None:
    """Raise `Problem` 400 where the query can't be answered."""
    if format_ == "json":
        page_asked(request)
    else:
        position_asked(request, sse=format_ == "sse")
        policy_of(request, job.options.log)


async def _value(hub: Hub, request: Request) -> object:
    """The value in the request's body; None for an empty one. Raises `Problem`."""
    parse = None
    length = request.header("content-length")
    if length != "0" and (length is not None or request.header("content-type") is not None):
        parse = parser_for(request, _BODIES, _WHAT)  # before any work on the body
    body = await read_body(hub, request, _WHAT)
    if not body:
        return None
    values = await parse_values(parse or parser_for(request, _BODIES, _WHAT), body)
    if len(values) != 1:
        raise Problem(400, "Unreadable Body", f"{_WHAT} is one value, not {len(values)}.")
    return values[0]


def prefers_async(request: Request) -> bool:
    """Whether the client asks not to wait for the output (RFC 7240 section 4.1)."""
    preferences = (request.header("prefer") or "").split(",")
    names = (each.partition(";")[0].partition("=")[0].strip().lower() for each in preferences)
    return "respond-async" in names


def _state(run: JobRun) -> Mapping[str, Any]:
    return {"status": run.status} | ({} if run.error is None else {"error": run.error})
