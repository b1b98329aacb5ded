"""Which request under ``/jobs`` does what, and who may."""

from __future__ import annotations

import re
from typing import Any

from .access_log import Answer
from .admission import Admission
from .grants import Grant
from .hub import Hub
from .jobs import Job, JobRun
from .transports.asking import format_of
from .transports.http import (
    ClientGone,
    Headers,
    Problem,
    Request,
    Send,
    respond_empty,
    respond_json,
    respond_problem,
)
from .transports.jobs import cancel_run, prefers_async, read_run, start_job

_PATH = re.compile(r"/jobs(?:/([^/]+)(?:/([^/]+))?)?/?")
_METHODS = {
    "list": b"GET, HEAD, OPTIONS",
    "job": b"POST, OPTIONS",
    "run": b"GET, HEAD, DELETE, OPTIONS",
}
_HINTS = {
    "list": "The list of jobs is read with GET.",
    "job": "A job is started with POST.",
    "run": "A run of a job is read with GET and cancelled with DELETE.",
}


class JobRoutes:
    """Serves ``/jobs``, ``/jobs/{job}`` and ``/jobs/{job}/{id}``."""

    def __init__(self, hub: Hub, admission: Admission) -> None:
        self._hub = hub
        self._admission = admission

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is one of these."""
        return path.startswith("/jobs") and _PATH.fullmatch(path) is not None

    async def serve(self, request: Request, send: Send) -> None:
        """Answer one request."""
        match = _PATH.fullmatch(request.scope["path"])
        assert match is not None, "only what `serves` says is served"
        name, id_ = match.groups()
        kind = "list" if name is None else "job" if id_ is None else "run"
        head = request.method == "HEAD"
        cors = self._admission.cors(request.scope)
        answer = Answer(request.scope, send)
        allow = (b"allow", _METHODS[kind])
        try:
            if request.method == "OPTIONS":
                await respond_empty(answer, 204, [allow, *cors])
                return
            request.grant = await self._admission.admit(request.scope)
            if request.method not in _METHODS[kind].decode().split(", "):
                raise Problem(405, "Method Not Allowed", _HINTS[kind], [allow])
            if name is None:
                await respond_json(answer, 200, self._listed(request.grant), cors, head=head)
            elif id_ is None:
                await self._start(name, request, send, answer, cors)
            else:
                await self._run(name, id_, request, send, answer, cors)
        except Problem as problem:
            await respond_problem(answer, problem, cors, head=head)
        except ClientGone:
            return

    def _listed(self, grant: Grant) -> dict[str, Any]:
        jobs = self._hub.jobs
        return {
            "jobs": [
                {
                    "name": job.name,
                    "schema": job.schema,
                    "running": jobs.running_of(job.name),
                    "max_running": job.options.max_running,
                }
                for job in jobs.declared.values()
                if grant.may_run(job.name)
            ]
        }

    async def _start(
        self, name: str, request: Request, send: Send, answer: Send, cors: Headers
    ) -> None:
        self._require(name, request.grant, "start")
        job = self._job(name)
        format_ = format_of(request)
        # A stream is noted in the access log when it is over, and by itself.
        through = answer if format_ == "json" or prefers_async(request) else send
        await start_job(self._hub, job, format_, request, through, cors)

    async def _run(
        self, name: str, id_: str, request: Request, send: Send, answer: Send, cors: Headers
    ) -> None:
        deleting = request.method == "DELETE"
        self._require(name, request.grant, "cancel a run of" if deleting else "read")
        run = self._find(name, id_)
        if deleting:
            await cancel_run(run, answer, cors)
        else:
            format_ = format_of(request)
            through = answer if format_ == "json" else send
            await read_run(self._hub, run, format_, request, through, cors)

    # Finding. Raises `Problem`: who has no right is told so, be there such a job or not.

    def _require(self, name: str, grant: Grant, verb: str) -> None:
        self._admission.require(grant, grant.may_run(name), f"{verb} job {name[:128]}")

    def _job(self, name: str) -> Job[Any]:
        job = self._hub.jobs.declared.get(name)
        if job is None:
            raise Problem(404, "Unknown Job", f"There is no job {name[:128]!r}.")
        return job

    def _find(self, name: str, id_: str) -> JobRun:
        run = self._hub.jobs.find(name, id_)  # also one of a job that a reload has removed
        if run is None:
            kept = f"{self._job(name).options.keep:g}"
            detail = f"Job {name} has no such run; a finished one is kept for {kept} seconds."
            raise Problem(404, "Unknown Run", detail)
        return run
