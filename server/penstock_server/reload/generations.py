"""What ``@server.lifespan`` opens, once for each load whose pipelines run.

The modules of a new load have names of their own for what the lifespan function sets up, so it is
entered for them, too, before the first of their pipelines starts. It is left once none of those
pipelines runs any more, and no run of the load's jobs, or when the server ends. The first load's is
the server's own.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

import trio

from ..hub import Hub
from ..jobs import JobRun
from ..resources import Resources

CLEANUP_SECONDS = 5.0
"""For a lifespan function's cleanup; after that it is cancelled."""

logger = logging.getLogger("penstock.reload")


class Generations:
    """Which load each topic's pipeline is of, and what is open for it."""

    def __init__(self, hub: Hub, nursery: trio.Nursery) -> None:
        self._hub = hub
        self._nursery = nursery
        self._topics: dict[str, int] = {}
        self._over: dict[int, trio.Event] = {}
        self._newest = 0

    async def open(self, resources: Resources | None) -> int:
        """Enter the lifespan function of a new load, where it has one; gives the load's number.

        Raises what the function raises.
        """
        self._newest += 1
        number = self._newest
        if resources is None or not resources.declared:
            return number
        self._over[number] = trio.Event()
        failure = await self._nursery.start(self._hold, resources, self._over[number])
        if failure is not None:
            del self._over[number]
            raise failure
        return number

    def keep_for(self, runs: Collection[JobRun]) -> None:
        """Keep for these runs, until they are over, what is open for their jobs now."""
        for run in runs:
            number, key = self._topics.get(key_of_job(run.job.name)), f"run {run.path}"
            if number is not None and key not in self._topics:
                self._topics[key] = number
                self._nursery.start_soon(self._let_go, run, key)

    async def _let_go(self, run: JobRun, key: str) -> None:
        await run.over()
        self.moved(self._newest, (), [key])

    def moved(self, number: int, topics: Collection[str], gone: Collection[str]) -> None:
        """The pipelines of `topics` are of that load now, and those of `gone` of none.

        Jobs are among them, under `key_of_job`.

        The lifespan functions of loads of which no pipeline runs any more are left.
        """
        self._topics |= dict.fromkeys(topics, number)
        for name in gone:
            self._topics.pop(name, None)
        used = {self._newest, *self._topics.values()}
        for unused in self._over.keys() - used:
            self._over.pop(unused).set()

    async def _hold(
        self,
        resources: Resources,
        over: trio.Event,
        task_status: trio.TaskStatus[Exception | None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        entered = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_with_server, over)
            try:
                with trio.CancelScope() as scope:
                    async with resources.open():
                        entered = scope.shield = True  # from now on `over` ends it, in order
                        task_status.started(None)
                        await over.wait()
                        scope.deadline = trio.current_time() + CLEANUP_SECONDS
            except Exception as error:
                if entered:
                    logger.exception("lifespan: its cleanup failed")
                else:
                    task_status.started(error)
            nursery.cancel_scope.cancel("nothing of this load runs any more")

    async def _end_with_server(self, over: trio.Event) -> None:
        try:
            await self._hub.producers_ended()
        finally:  # cancelled: the server was told to end at once
            over.set()


def key_of_job(name: str) -> str:
    """What a job is called among topics; no topic's name has a space in it."""
    return f"job {name}"
