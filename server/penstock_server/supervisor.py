"""Keeps a topic's pipeline running: restarts it with backoff when it fails, and says so.

States: ``waiting`` (not started; with ``start="demand"`` also while nobody subscribes),
``running``, ``restarting`` (failed; waiting to be started again), ``ended`` (its pipeline came to
its end), ``stopped`` (told to). A topic without a pipeline is ``open``.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias

import trio

import penstock as ps
from penstock.wire import Cursor

from .bookmarks import Bookmarks
from .topics import Topic
from .wake import Wake

logger = logging.getLogger("penstock.topics")

State: TypeAlias = Literal["waiting", "open", "running", "restarting", "ended", "stopped"]

BACKOFF = ps.Backoff(initial=0.2, maximum=30.0)


class Supervisor:
    """One topic's pipeline over its restarts and, with ``start="demand"``, its pauses."""

    def __init__(self, topic: Topic[Any], backoff: ps.Backoff = BACKOFF) -> None:
        self.topic = topic
        self.state: State = "open" if topic.source is None else "waiting"
        self.run: ps.Run[None] | None = None
        self.last_error: str | None = None
        self._backoff = backoff
        self._failures = 0
        self._bookmarks = Bookmarks()
        self._stopping = trio.Event()
        self._pausing = False
        self._held = False
        self._nap: trio.CancelScope | None = None
        self._changed = Wake()

    @property
    def reads(self) -> Collection[str]:
        """The names of the topics that the pipeline derives from, once it was built."""
        return self._bookmarks.topics

    @property
    def is_over(self) -> bool:
        """Whether no pipeline runs here, or will."""
        return self.state in ("open", "ended", "stopped")

    async def supervise(self, beginning: Mapping[str, Cursor]) -> None:
        """Run the pipeline until it ends or is stopped. Cancelled, the pipeline is cancelled.

        `beginning` is where each topic's log was when this one was to start.
        """
        if self.topic.source is None:
            return
        self._bookmarks.beginning = beginning
        while await self._wanted():
            started = trio.current_time()
            self.state = "running"
            self._pausing = False
            try:
                await self._run_once()
            except ps.RunStopped:
                continue
            except Exception as error:  # noqa: BLE001 - whatever ends a pipeline, it starts again
                await self._wait_to_restart(error, trio.current_time() - started)
            else:
                if not self._pausing:
                    self._note_end()
                    return
        self.state = "stopped"

    async def _wanted(self) -> bool:
        """Wait until the pipeline should run; False once it is stopped."""
        topic = self.topic
        if self._held:
            self.state = "waiting"
            await self._until(self._is_free)
        if topic.options.start == "demand" and not self._stopping.is_set():
            self.state = "waiting"
            await self._until(lambda: len(topic.audience) > 0 or self._stopping.is_set())
        return not self._stopping.is_set()

    def _is_free(self) -> bool:
        return not self._held or self._stopping.is_set()

    async def _until(self, condition: Any) -> None:
        """Wait for a condition on the audience, or on what `_changed` tells of."""
        unwatch = self.topic.audience.watch(self._changed.set)
        try:
            while not condition():
                await self._changed.wait()
        finally:
            unwatch()

    async def _run_once(self) -> None:
        with self._bookmarks.held_out():
            source = self.topic.source
            pipeline = self.topic.into_log(self.topic.build())
        async with pipeline.open() as run:
            self.run = run
            self._pausing = self.topic.source is not source  # `renew` came before there was a run
            if self._stopping.is_set() or self._pausing:
                await run.stop(0)
            if self.topic.options.start == "demand":
                await self._result_or_pause(run)
            else:
                await run.result()

    async def _result_or_pause(self, run: ps.Run[None]) -> None:
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pause_when_unwanted, run)
            try:
                await run.result()
            except Exception as error:  # noqa: BLE001 - raised below, where no nursery wraps it
                failure = error
            nursery.cancel_scope.cancel("the pipeline is over")
        if failure is not None:
            raise failure

    async def _pause_when_unwanted(self, run: ps.Run[None]) -> None:
        """Stop the pipeline once it had no subscriber for its whole grace.

        It drains for as long as it takes: what would be cut off would be missing for good.
        """
        audience = self.topic.audience
        wanted_again = True
        while wanted_again:
            await self._until(lambda: len(audience) == 0)
            with trio.move_on_after(self.topic.options.demand_grace) as grace:
                await self._until(lambda: len(audience) > 0)
            wanted_again = not grace.cancelled_caught
        self._pausing = True
        await run.stop()

    async def _wait_to_restart(self, error: Exception, ran_for: float) -> None:
        """Say that the pipeline failed, and wait; longer each time that it fails again soon."""
        if self._stopping.is_set():
            self._note_failure(error, "while it was stopped")
            return
        if ran_for > self._backoff.bound(self._failures):
            self._failures = 0  # it went well for longer than it would now have to wait
        delay = self._backoff.delay(self._failures, random.random())  # noqa: S311 - a wait, no secret
        self._failures += 1
        self.state = "restarting"
        self.topic.restarts += 1
        self._note_failure(error, f"and starts again in {delay:.1f} s")
        with trio.move_on_after(delay) as self._nap:
            await self._stopping.wait()

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

    async def hold(self, drain: float) -> None:
        """Pause the pipeline until `release`; what is in flight after `drain` seconds is lost."""
        self._held = True
        if self.run is not None and self.state == "running":
            self._pausing = True
            await self.run.stop(drain)

    def release(self) -> None:
        """Let a pipeline that was held go on. Without `hold` it does nothing."""
        self._held = False
        self._changed.set()

    async def renew(self, drain: float) -> None:
        """Start the pipeline anew, from the function that the topic has now, once it has drained.

        What is in flight after `drain` seconds is lost. Streams over other topics go on where they
        were. One that has failed, and waits to be restarted, is restarted at once.
        """
        self._failures = 0
        if self._nap is not None:
            self._nap.cancel("the pipeline is another one now")
        if self.run is not None and self.state == "running":
            self._pausing = True
            await self.run.stop(drain)

    async def stop(self, deadline: float) -> None:
        """End the pipeline within `deadline` seconds: its streams over other topics once they have
        taken what is there, its other producers then, and the rest drains.
        """
        self._stopping.set()
        self._changed.set()
        if self.run is None or self.state != "running":
            return
        ends = trio.current_time() + deadline
        with trio.move_on_at(ends):
            await self._bookmarks.read_up()
        await self.run.stop(max(0.0, ends - trio.current_time()))
