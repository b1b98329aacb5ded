"""`Server`: the declaration of topics, and the ASGI application made of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Iterable
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio

import penstock as ps
from penstock import caller_location

from .catalogue import Catalogue
from .compat import ChatModel, ChatOptions
from .declaring import declare, declare_chat_model, declare_job
from .encoding import Encoding
from .fanout import Slow
from .jobs import JOB_RETENTION, Job, JobOptions
from .keys import Key
from .options import StartMode, TopicOptions
from .origins import parse_origins
from .resources import Resources, ResourcesFunction
from .settings import Limits, Retention, Timing
from .topics import Topic

if TYPE_CHECKING:
    from quart_trio import QuartTrio

    from .admission import Admission
    from .app import Application
    from .auth import Auth
    from .hub import Hub

T = TypeVar("T")

logger = logging.getLogger("penstock.server")

_RETAIN = Retention()
_DEFAULT = TopicOptions()
_JOB = JobOptions()
_CHAT = ChatOptions()


class Server:
    """Topics, and the ASGI application that serves them: ``penstock serve FILE``.

    Args:
        title: shown by the console.
        cors: origins of web pages that may read and publish, besides the server's own
            (``https://app.example.com``); ``"*"`` for every page there is.
        auth: who may do what (`JWT`, `ApiKeys`); None lets everybody do everything.
        direct: write events straight to the sockets of plain connections where that is possible;
            False takes the ordinary way through the ASGI server for all.
        websocket_compression: whether permessage-deflate is agreed on; it costs memory for each
            connection.
        limits: the most that a client may ask for.
        timing: keepalives, heartbeats, time-outs.

    Declaring imports no web stack; that comes with the first use of `app` or of the server as an
    ASGI application. A server object is run once. Raises `PipelineError` for an option that is
    wrong.
    """

    def __init__(
        self,
        title: str = "penstock",
        *,
        cors: Collection[str] = (),
        auth: Auth | None = None,
        direct: bool = True,
        websocket_compression: bool = False,
        limits: Limits | None = None,
        timing: Timing | None = None,
    ) -> None:
        for option, value in (("direct", direct), ("websocket_compression", websocket_compression)):
            if not isinstance(value, bool):
                problem = f"{option} must be True or False, got {value!r}"
                raise ps.PipelineError("Server", problem, caller_location())
        if auth is not None and not hasattr(auth, "verify"):
            problem = f"auth must be JWT(...), ApiKeys(...) or None, got a {type(auth).__name__}"
            raise ps.PipelineError("Server", problem, caller_location())
        self.title = title
        self.auth = auth
        self.direct = direct
        self.websocket_compression = websocket_compression
        self.limits = limits or Limits()
        self.timing = timing or Timing()
        self.resources = Resources()
        self._cors = parse_origins(cors)
        self._catalogue = Catalogue()
        self._hub: Hub | None = None
        self._quart: QuartTrio | None = None
        self._application: Application | None = None
        self._admission: Admission | None = None
        if "hypercorn.trio.run" in sys.modules:
            # The plain hypercorn command has imported us to serve this very object, and looks up
            # what the guard replaces right after: the first request would be too late.
            install_guard()

    def __repr__(self) -> str:
        return f"<Server {self.title!r}, {len(self.topics)} topics>"

    @overload
    def topic(
        self,
        name: str,
        *,
        accepts: type[T],
        retain: int = ...,
        retain_bytes: int = ...,
        retain_seconds: float | None = ...,
        key: Key | None = ...,
        slow: Slow = ...,
        max_lag: int = ...,
        stall_timeout: float | None = ...,
        batch: int = ...,
        encoding: Encoding = ...,
        start: StartMode = ...,
        demand_grace: float = ...,
        idle: float = ...,
        max_instances: int = ...,
    ) -> Topic[T]: ...

    @overload
    def topic(
        self,
        name: str,
        *,
        accepts: None = None,
        retain: int = ...,
        retain_bytes: int = ...,
        retain_seconds: float | None = ...,
        key: Key | None = ...,
        slow: Slow = ...,
        max_lag: int = ...,
        stall_timeout: float | None = ...,
        batch: int = ...,
        encoding: Encoding = ...,
        start: StartMode = ...,
        demand_grace: float = ...,
        idle: float = ...,
        max_instances: int = ...,
    ) -> Topic[Any]: ...

    def topic(
        self,
        name: str,
        *,
        accepts: Any = None,
        retain: int = _RETAIN.events,
        retain_bytes: int = _RETAIN.bytes,
        retain_seconds: float | None = _RETAIN.seconds,
        key: Key | None = None,
        slow: Slow = _DEFAULT.slow,
        max_lag: int = _DEFAULT.max_lag,
        stall_timeout: float | None = None,
        batch: int = _DEFAULT.batch,
        encoding: Encoding = "json",
        start: StartMode = _DEFAULT.start,
        demand_grace: float = _DEFAULT.demand_grace,
        idle: float = _DEFAULT.idle,
        max_instances: int = _DEFAULT.max_instances,
    ) -> Topic[Any]:
        """Declare a topic; use it as an object, or as the decorator of its pipeline's function.

        A name with parts (``room.{room}``) is a template: it stands for one topic per value, each
        with a log of its own, made at its first use. `Topic.instance` gives one of them, and the
        decorated function gets the values as keyword arguments.

        Args:
            name: 1 to 128 letters, digits, ``.``, ``_``, ``-``; and ``{parts}``, at most one
                between two dots, whose values are 1 to 64 letters, digits, ``_``, ``-``.
            accepts: the type of what clients may publish (a dataclass, TypedDict, msgspec Struct,
                or any type msgspec knows; ``object`` for anything). None: clients can't publish.
            retain: the most events that are kept for those who come later.
            retain_bytes: the most bytes of them.
            retain_seconds: the most age of them; None for any age.
            key: what ``"conflate"`` keeps the newest event of: a field's name, or a function of
                the data. None: all events have the same key.
            slow: what becomes of a subscriber that falls behind: ``"skip"`` what it missed,
                ``"conflate"`` (the newest event per key), ``"block"`` (the pipeline and publishers
                wait for it), or ``"disconnect"``.
            max_lag: with ``"disconnect"``, how many events a subscriber may be behind.
            stall_timeout: seconds without taking a byte after which a subscriber is disconnected;
                None for the server's own.
            batch: the most events in one write; 1 never puts two together.
            encoding: ``"text"`` for a topic of str whose SSE ``data:`` is the text itself.
            start: ``"demand"`` starts the pipeline with the first subscriber.
            demand_grace: with ``"demand"``, seconds without a subscriber until it is stopped,
                draining.
            idle: seconds without a subscriber or a publication until a template's topic is dropped
                with its events (up to half as long again); its next life has a new epoch.
            max_instances: the most topics that a template has at a time.

        Raises `PipelineError` for a name that is wrong or taken, or an option that is wrong.
        """
        options = TopicOptions(
            accepts=accepts,
            encoding=encoding,
            retention=Retention(retain, retain_bytes, retain_seconds),
            key=key,
            slow=slow,
            max_lag=max_lag,
            stall_timeout=stall_timeout,
            batch=batch,
            start=start,
            demand_grace=demand_grace,
            idle=idle,
            max_instances=max_instances,
        )
        where = caller_location()
        self._require_not_running(f"topic {name!r}", where)
        topic = declare(self._catalogue, name, options, where)
        if self._hub is not None:  # `app` was used before
            self._hub.lifecycle.declared(topic)
        return topic

    @overload
    def job(
        self,
        name: str,
        *,
        accepts: type[T],
        detach: float | None = ...,
        keep: float = ...,
        max_running: int = ...,
        retain: int = ...,
        retain_bytes: int = ...,
        slow: Slow = ...,
        max_lag: int = ...,
        stall_timeout: float | None = ...,
        batch: int = ...,
        encoding: Encoding = ...,
    ) -> Job[T]: ...

    @overload
    def job(
        self,
        name: str,
        *,
        accepts: None = None,
        detach: float | None = ...,
        keep: float = ...,
        max_running: int = ...,
        retain: int = ...,
        retain_bytes: int = ...,
        slow: Slow = ...,
        max_lag: int = ...,
        stall_timeout: float | None = ...,
        batch: int = ...,
        encoding: Encoding = ...,
    ) -> Job[Any]: ...

    def job(
        self,
        name: str,
        *,
        accepts: Any = None,
        detach: float | None = _JOB.detach,
        keep: float = _JOB.keep,
        max_running: int = _JOB.max_running,
        retain: int = JOB_RETENTION.events,
        retain_bytes: int = JOB_RETENTION.bytes,
        slow: Slow = _JOB.log.slow,
        max_lag: int = _JOB.log.max_lag,
        stall_timeout: float | None = None,
        batch: int = _JOB.log.batch,
        encoding: Encoding = "json",
    ) -> Job[Any]:
        """Declare a job: a pipeline of its own for each request, with a log of its own.

        It decorates the function that gives the stream of a run. That is called with the request's
        body, or with nothing where it takes nothing; what it yields is what the client gets. The
        log's other options are those of a topic, see `topic`.

        Args:
            name: 1 to 64 letters, digits, ``.``, ``_``, ``-``.
            accepts: the type of the body; None for any value, or none at all.
            detach: seconds for which a run goes on without a reader; 0 cancels it when its last
                reader goes, None never does.
            keep: seconds for which a finished run can still be read.
            max_running: the most runs at a time; one more is refused with 429.
            slow: ``"block"``, unlike for a topic: the pipeline waits for who reads it.

        Raises `PipelineError` for a name that is wrong or taken, or an option that is wrong.
        """
        log = TopicOptions(
            accepts=accepts,
            encoding=encoding,
            retention=Retention(retain, retain_bytes),
            slow=slow,
            max_lag=max_lag,
            stall_timeout=stall_timeout,
            batch=batch,
        )
        options = JobOptions(log, inf if detach is None else detach, keep, max_running)
        where = caller_location()
        self._require_not_running(f"job {name!r}", where)
        return declare_job(self._catalogue, name, options, where)

    def chat_model(
        self,
        name: str,
        *,
        detach: float | None = _CHAT.detach,
        keep: float = _CHAT.keep,
        max_running: int = _CHAT.max_running,
        max_deltas: int = _CHAT.max_deltas,
        max_bytes: int = _CHAT.max_bytes,
        stall_timeout: float | None = None,
    ) -> ChatModel:
        """Declare a model to chat with: for clients of OpenAI's API, of the UI message stream, and
        as a job.

        It decorates the function that answers: called with the messages (of type
        ``penstock.wire.ChatMessage``) and the request's other fields, or with the messages alone,
        it gives a Stream of str or of ``penstock.wire.ChatDelta``. `penstock.net.openai_chat` gives
        such a function, for a model that is elsewhere.

        Args:
            name: the model's name, 1 to 64 letters, digits, ``.``, ``_``, ``-``.
            detach: seconds for which an answer goes on without a reader; 0 cancels it when its last
                reader goes, None never does.
            keep: seconds for which a finished answer can still be read.
            max_running: the most answers at a time; one more is refused with 429.
            max_deltas: the most pieces of an answer, all of which are kept; a longer one ends there
                with the finish reason ``length``.
            max_bytes: the most bytes of text, reasoning and tool calls in an answer, likewise.
            stall_timeout: as a topic's.

        Raises `PipelineError` for a name that is wrong or taken, or an option that is wrong.
        """
        options = ChatOptions(
            detach=inf if detach is None else detach,
            keep=keep,
            max_running=max_running,
            stall_timeout=stall_timeout,
            max_deltas=max_deltas,
            max_bytes=max_bytes,
        )
        where = caller_location()
        self._require_not_running(f"chat model {name!r}", where)
        return declare_chat_model(self._catalogue, name, options, where)

    def _require_not_running(self, stage: str, where: ps.Location | None) -> None:
        if self._hub is not None and self._hub.running:
            problem = "topics and jobs are declared before the server is served"
            raise ps.PipelineError(stage, problem, where)

    def lifespan(self, function: ResourcesFunction) -> ResourcesFunction:
        """Decorate an async generator function, or one that gives an async context manager.

        It is entered before the first pipeline starts and left after the last one has ended: the
        place for what pipelines share, such as a connection pool. A start that fails ends the
        server. Raises `PipelineError` for anything else, and for a second one.
        """
        return self.resources.declare(function, caller_location())

    # For the command line: see penstock.config.HasPipelines

    def named_pipelines(self) -> Iterable[tuple[str, Callable[[], ps.Stream[Any]]]]:
        """The name of each topic that has a pipeline, and what builds it without running it.

        The topics of templates are not among them: nobody knows their values yet. Nor are jobs, but
        for those without a function, which can't be built.
        """
        return [
            *((name, topic.build) for name, topic in self.topics.items() if topic.source),
            *((name, job.refuse) for name, job in self.jobs.items() if not job.is_declared),
        ]

    @property
    def topics(self) -> dict[str, Topic[Any]]:
        """The topics that there are by name, with those of templates that are in use; a copy."""
        return dict(self._catalogue.topics)

    @property
    def jobs(self) -> dict[str, Job[Any]]:
        """The jobs by name; a copy."""
        return dict(self._catalogue.jobs)

    # For serving

    @property
    def hub(self) -> Hub:
        """The running parts: for tests, and for those who embed the server."""
        if self._hub is None:
            from .hub import Hub

            self._hub = Hub(self._catalogue, self.limits, self.timing, self.auth)
            self._hub.title = self.title
            self._hub.direct = self.direct
            self._hub.websocket_compression = self.websocket_compression
        return self._hub

    @property
    def app(self) -> QuartTrio:
        """The QuartTrio application, for routes of your own."""
        if self._quart is None:
            from quart_trio import QuartTrio

            from .app import add_routes

            self._quart = QuartTrio("penstock_server")
            add_routes(self._quart, self.hub, self._admit, self.title)
        return self._quart

    async def revoke(
        self, *, subject: str = "", token_id: str = "", until: float | None = None
    ) -> None:
        """Refuse one token, or a subject's tokens that have been issued until now, from now on.

        What they have open ends at once: WebSockets with close code 1008. `until` is when the last
        of them expires, in seconds since 1970; None is for ever, or for a token that has something
        open, until that one expires. The revocation is this process's own and is forgotten with it.
        Raises `PenstockError` on a server without `auth`, where not exactly one of the two is
        given, and where too many are remembered already.
        """
        self.hub.revoke(subject, token_id, until)
        await trio.lowlevel.checkpoint()

    @property
    def _admit(self) -> Admission:
        if self._admission is None:
            from .admission import Admission

            self._admission = Admission(self.hub, self._cors)
        return self._admission

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI scope."""
        if self._application is None:
            from .app import Application

            self._application = Application(self.hub, self.app, self._admit, self.resources)
        await self._application(scope, receive, send)


def install_guard() -> None:
    """Correct Hypercorn's behaviour where it is a version that is known, else say so."""
    from .hypercorn_guard import install

    if not install():
        logger.warning(
            "this Hypercorn is not a version that penstock was checked with: a reader that stops"
            " reading may hold up a shutdown, and WebSocket peers are not pinged"
        )
