"""``GET /stats`` as a stream: a snapshot of the server, once a second while anybody reads it.

Snapshots have a log of their own, outside of the catalogue, and are streamed as any topic is. Who
reads them is no part of the traffic that they tell of.
"""

from __future__ import annotations

import trio

from .access_log import Answer
from .admission import Admission
from .hub import Hub
from .options import TopicOptions
from .settings import Retention
from .stats import server_stats
from .topics import Topic
from .transports.http import ClientGone, Problem, Receive, Request, Scope, Send, respond_problem
from .transports.negotiation import Format, NotAcceptable, choose
from .transports.streaming import stream_topic
from .wake import Wake

PATH = "/stats"

_INTERVAL = 1.0
_LEAST_PAUSE = 0.2
_MOST = 200
"""Topics, and runs of each job, in a snapshot: a server may have thousands of them."""


class Watching:
    """Takes snapshots while `run` runs and somebody reads them, and answers those who do.

    Args:
        hub: what is looked at.
        admission: who may.
    """

    def __init__(self, hub: Hub, admission: Admission) -> None:
        self.topic: Topic[object] = Topic(
            "stats", TopicOptions(retention=Retention(events=2), slow="conflate"), None
        )
        self.topic.is_traffic = False
        self._hub = hub
        self._admission = admission
        self._came = Wake()
        self._readers = 0
        self.topic.audience.watch(self._count)

    def _count(self) -> None:
        before, self._readers = self._readers, len(self.topic.audience)
        if self._readers > before:
            self._came.set()

    async def run(self) -> None:
        """Append snapshots until cancelled; while nobody reads them it sleeps.

        Whoever comes is given one at once, or nearly so where others came just before.
        """
        while True:
            await self._came.wait()
            while len(self.topic.audience):
                snapshot = server_stats(self._hub, most=_MOST)
                self.topic.log.append((self.topic.encoded(snapshot),))
                await trio.sleep(_LEAST_PAUSE)
                with trio.move_on_after(_INTERVAL - _LEAST_PAUSE):
                    await self._came.wait()

    async def answer(self, format_: Format, request: Request, send: Send) -> None:
        """Answer with snapshots until the client goes or the server drains."""
        cors = self._admission.cors(request.scope)
        try:
            grant = await self._admission.admit(request.scope)
            self._admission.require(grant, grant.operate, "look into the server")
            request.grant = grant
            await stream_topic(self._hub, self.topic, format_, request, send, cors)
        except Problem as problem:
            answer = Answer(request.scope, send)
            await respond_problem(answer, problem, cors, head=request.method == "HEAD")
        except ClientGone:
            return


def stream_wanted(scope: Scope, receive: Receive) -> tuple[Format, Request] | None:
    """The format of the snapshots that a request wants as a stream; None for any other request."""
    if scope["type"] != "http" or scope["path"] != PATH or scope["method"] not in ("GET", "HEAD"):
        return None
    request = Request(scope, receive)
    try:
        format_ = choose(request.header("accept"), request.query("format"), "json")
    except NotAcceptable:
        return None
    return None if format_ == "json" else (format_, request)
