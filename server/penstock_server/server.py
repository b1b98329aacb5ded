"""`Server`: the declaration of topics, and the ASGI application made of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

import penstock as ps
from penstock import caller_location

from .encoding import Encoding
from .settings import Limits, Retention, Timing
from .topics import NAME, Topic, check_accepts

if TYPE_CHECKING:
    from quart_trio import QuartTrio

    from .app import Application
    from .hub import Hub

T = TypeVar("T")

logger = logging.getLogger("penstock.server")

_DEFAULT = Retention()


class Server:
    """Topics, and the ASGI application that serves them: ``penstock serve FILE``.

    Args:
        title: shown on the index page.
        cors: origins of web pages that may read and publish, besides the server's own
            (``https://app.example.com``); ``"*"`` for every page there is.
        limits: the most that a client may ask for.
        timing: keepalives, heartbeats, time-outs.

    Declaring imports no web stack; that comes with the first use of `app` or of the server as an
    ASGI application. A server object is run once.
    """

    def __init__(
        self,
        title: str = "penstock",
        *,
        cors: Collection[str] = (),
        limits: Limits | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.title = title
        self.limits = limits or Limits()
        self.timing = timing or Timing()
        self._cors = frozenset((cors,) if isinstance(cors, str) else cors)
        self._topics: dict[str, Topic[Any]] = {}
        self._hub: Hub | None = None
        self._quart: QuartTrio | None = None
        self._application: Application | None = None
        if "hypercorn.trio.run" in sys.modules:
            # The plain hypercorn command has imported us to serve this very object, and looks up
            # what the guard replaces right after: the first request would be too late.
            install_guard()

    def __repr__(self) -> str:
        return f"<Server {self.title!r}, {len(self._topics)} topics>"

    @overload
    def topic(
        self,
        name: str,
        *,
        accepts: type[T],
        retain: int = ...,
        retain_bytes: int = ...,
        retain_seconds: float | None = ...,
        encoding: Encoding = ...,
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
        encoding: Encoding = ...,
    ) -> Topic[Any]: ...

    def topic(
        self,
        name: str,
        *,
        accepts: Any = None,
        retain: int = _DEFAULT.events,
        retain_bytes: int = _DEFAULT.bytes,
        retain_seconds: float | None = _DEFAULT.seconds,
        encoding: Encoding = "json",
    ) -> Topic[Any]:
        """Declare a topic; use it as an object, or as the decorator of its pipeline's function.

        Args:
            name: 1 to 128 letters, digits, ``.``, ``_``, ``-``.
            accepts: the type of what clients may publish (a dataclass, TypedDict, msgspec Struct,
                or any type msgspec knows; ``object`` for anything). None: clients can't publish.
            retain: the most events that are kept for those who come later.
            retain_bytes: the most bytes of them.
            retain_seconds: the most age of them; None for any age.
            encoding: ``"text"`` for a topic of str whose SSE ``data:`` is the text itself.

        Raises `PipelineError` for a name that is wrong or taken, or an option that is wrong.
        """
        where = caller_location()
        self._check_topic(name, encoding, where)
        retention = _retention(name, retain, retain_bytes, retain_seconds, where)
        if accepts is not None:
            check_accepts(name, accepts, where)
        topic: Topic[Any] = Topic(
            name, retention=retention, accepts=accepts, encoding=encoding, where=where
        )
        self._topics[name] = topic
        return topic

    def _check_topic(self, name: str, encoding: str, where: ps.Location | None) -> None:
        def refuse(problem: str) -> ps.PipelineError:
            return ps.PipelineError(f"topic {name!r}", problem, where)

        given: object = name
        if not isinstance(given, str) or not NAME.fullmatch(given):
            raise refuse(f"name must be 1 to 128 of letters, digits, '.', '_', '-', got {name!r}")
        if name in self._topics:
            raise refuse(f"there is a topic {name!r} already, at {self._topics[name].where}")
        if encoding not in ("json", "text"):
            raise refuse(f"encoding must be 'json' or 'text', got {encoding!r}")
        if self._hub is not None:
            raise refuse("topics are declared before the server is served")

    # For the command line: see penstock.config.HasPipelines

    def named_pipelines(self) -> Iterable[tuple[str, Callable[[], ps.Stream[Any]]]]:
        """The name of each topic that has a pipeline, and what builds it without running it."""
        return [(name, topic.build) for name, topic in self._topics.items() if topic.source]

    @property
    def topics(self) -> dict[str, Topic[Any]]:
        """The declared topics by name; a copy."""
        return dict(self._topics)

    # For serving

    @property
    def hub(self) -> Hub:
        """The running parts: for tests, and for those who embed the server."""
        if self._hub is None:
            from .hub import Hub

            self._hub = Hub(self._topics, self.limits, self.timing)
        return self._hub

    @property
    def app(self) -> QuartTrio:
        """The QuartTrio application, for routes of your own."""
        if self._quart is None:
            from quart_trio import QuartTrio

            from .app import add_routes

            self._quart = QuartTrio("penstock_server")
            add_routes(self._quart, self.hub, self.title)
        return self._quart

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI scope."""
        if self._application is None:
            from .app import Application

            self._application = Application(self.hub, self.app, self._cors)
        await self._application(scope, receive, send)


def install_guard() -> None:
    """Correct Hypercorn's behaviour where it is a version that is known, else say so."""
    from .hypercorn_guard import install

    if not install():
        logger.warning(
            "this Hypercorn is not a version that penstock was checked with: a reader that stops"
            " reading may hold up a shutdown, and WebSocket peers are not pinged"
        )


def _retention(
    name: str,
    events: Any,
    size: Any,
    seconds: Any,
    where: ps.Location | None,
) -> Retention:
    refuse = partial(ps.PipelineError, f"topic {name!r}", where=where)
    for option, value in (("retain", events), ("retain_bytes", size)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise refuse(f"{option} must be a whole number of at least 1, got {value!r}")
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (number and seconds > 0):
        raise refuse(f"retain_seconds must be a number of seconds above 0, got {seconds!r}")
    return Retention(events, size, seconds)
