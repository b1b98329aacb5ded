"""Keeps a topic's pipeline running: restarts it with backoff when it fails, and says so.

States: ``waiting`` (not started), ``running``, ``restarting`` (failed; waiting to be started
again), ``ended`` (its pipeline came to its end), ``stopped`` (told to). A topic without a pipeline
is ``open``.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import trio

import penstock as ps
from penstock.wire import Cursor

from .bookmarks import Bookmarks
from .topics import Topic

logger = logging.getLogger("penstock.topics")

State: TypeAlias = Literal["waiting", "open", "running", "restarting", "ended", "stopped"]

BACKOFF = ps.Backoff(initial=0.2, maximum=30.0)


class Supervisor:
    """One topic's pipeline over its restarts."""

    def __init__(self, topic: Topic[Any], backoff: ps.Backoff = BACKOFF) -> None:
        self.topic = topic
        self.state: State = "open" if topic.source is None else "waiting"
        self.run: ps.Run[None] | None = None
        self.last_error: str | None = None
        self._backoff = backoff
        self._bookmarks = Bookmarks()
        self._stopping = trio.Event()

    async def supervise(self, beginning: Mapping[str, Cursor]) -> None:
        """Run the pipeline until it ends or is stopped. Cancelled, the pipeline is cancelled.

        `beginning` is where each topic's log was when the server started.
        """
        if self.topic.source is None:
            return
        self._bookmarks.beginning = beginning
        failures = 0
        while not self._stopping.is_set():
            started = trio.current_time()
            self.state = "running"
            try:
                await self._run_once()
            except ps.RunStopped:
                break
            except Exception as error:  # noqa: BLE001 - whatever ends a pipeline, it starts again
                if self._stopping.is_set():
                    self._note_failure(error, "while it was stopped")
                    break
                if trio.current_time() - started > self._backoff.bound(failures):
                    failures = 0  # it went well for longer than it would now have to wait
                delay = self._backoff.delay(failures, random.random())  # noqa: S311 - a wait, no secret
                failures += 1
                self.state = "restarting"
                self.topic.restarts += 1
                self._note_failure(error, f"and starts again in {delay:.1f} s")
                with trio.move_on_after(delay):
                    await self._stopping.wait()
            else:
                self._note_end()
                return
        self.state = "stopped"

    async def _run_once(self) -> None:
        with self._bookmarks.held_out():
            pipeline = self.topic.into_log(self.topic.build())
        async with pipeline.open() as run:
            self.run = run
            if self._stopping.is_set():
                await run.stop(0)
            await run.result()

    def _note_failure(self, error: Exception, what_follows: str) -> None:
        self.last_error = str(error)
        logger.error(
            "topic %s: its pipeline failed %s: %s",
            self.topic.name,
            what_follows,
            error,
            exc_info=error if logger.isEnabledFor(logging.DEBUG) else None,
        )

    def _note_end(self) -> None:
        if self._stopping.is_set():
            self.state = "stopped"
            return
        self.state = "ended"
        if not self.topic.publishable:
            self.topic.log.finish()
        logger.info("topic %s: its pipeline has come to its end", self.topic.name)

    async def stop(self, deadline: float) -> None:
        """End the pipeline: its producers now, the rest within `deadline` seconds."""
        self._stopping.set()
        if self.run is not None and self.state == "running":
            await self.run.stop(deadline)
