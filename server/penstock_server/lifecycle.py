"""The life of a server's topics: pipelines start, idle instances are dropped, all ends in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any

import trio

from penstock.wire import Cursor

from .catalogue import Catalogue
from .supervisor import Supervisor
from .topics import Topic
from .wake import Wake

_LOOKS_AN_IDLE_TIME = 4
_SHORTEST_LOOK = 0.02
_LONGEST_LOOK = 10.0
_DRAIN_SECONDS = 10.0


class Lifecycle:
    """Runs the pipelines of all topics in a catalogue.

    Attributes:
        supervisors: one for each topic that there is, by its name.
        dropped: called with each instance of a template that is dropped for idleness.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.supervisors = {name: Supervisor(topic) for name, topic in catalogue.topics.items()}
        self._catalogue = catalogue
        self._to_start = list(self.supervisors.values())
        self._beginnings: dict[Supervisor, Mapping[str, Cursor]] = {}
        self._ending: dict[str, trio.Event] = {}
        self._changed = Wake()
        self._stopping = False
        self.dropped: Callable[[Topic[Any]], None] | None = None
        catalogue.made = self.add

    def declared(self, topic: Topic[Any]) -> None:
        """Take over a topic that was declared late, but before `run`; a template is none."""
        if topic.name in self._catalogue.topics:
            self.supervisors[topic.name] = supervisor = Supervisor(topic)
            self._to_start.append(supervisor)

    def add(self, topic: Topic[Any]) -> None:
        """Take over a topic that was just made; its pipeline starts at once where `run` runs."""
        supervisor = self.supervisors[topic.name] = Supervisor(topic)
        if self._stopping:
            return
        if topic.source is not None:
            self._beginnings[supervisor] = self._where_all_are()
        self._to_start.append(supervisor)
        self._changed.set()

    def _where_all_are(self) -> dict[str, Cursor]:
        return {name: topic.cursor for name, topic in self._catalogue.topics.items()}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run pipelines and drop idle instances until cancelled, which cancels the pipelines."""
        beginning = self._where_all_are()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drop_idle, nursery)
            task_status.started()
            while True:
                new, self._to_start = self._to_start, []
                for supervisor in new:
                    where = self._beginnings.pop(supervisor, beginning)
                    nursery.start_soon(self._supervise, supervisor, where)
                await self._changed.wait()

    async def _supervise(self, supervisor: Supervisor, beginning: Mapping[str, Cursor]) -> None:
        """Supervise a pipeline, but not before that of the same name in its last life has ended."""
        before = self._ending.get(supervisor.topic.name)
        if before is not None:
            await before.wait()
        await supervisor.supervise(beginning)

    # Idle instances

    async def _drop_idle(self, nursery: trio.Nursery) -> None:
        templates = self._catalogue.templates  # a reload may bring others
        while True:
            idle = min((each.options.idle for each in templates.values()), default=_LONGEST_LOOK)
            look = min(max(idle / _LOOKS_AN_IDLE_TIME, _SHORTEST_LOOK), _LONGEST_LOOK)
            await trio.sleep(look)
            now = trio.current_time()
            for template in templates.values():
                for topic in list(template.instances.values()):
                    if topic.touched or topic.is_used:
                        topic.touched, topic.used_at = False, now
                    elif now - topic.used_at >= template.options.idle:
                        self._drop(topic, nursery)

    def _drop(self, topic: Topic[Any], nursery: trio.Nursery) -> None:
        end = self.retire(topic)
        self._catalogue.drop(topic)
        if self.dropped is not None:
            self.dropped(topic)
        nursery.start_soon(end, _DRAIN_SECONDS)

    async def _end(self, supervisor: Supervisor, ended: trio.Event, within: float) -> None:
        await supervisor.stop(within)
        ended.set()
        if self._ending.get(supervisor.topic.name) is ended:
            del self._ending[supervisor.topic.name]

    # While it runs, in development

    def retire(self, topic: Topic[Any]) -> Callable[[float], Awaitable[None]]:
        """Take a topic out; gives what ends its pipeline, within so many seconds.

        The pipeline of another topic of its name starts only once that is done.
        """
        supervisor = self.supervisors.pop(topic.name)
        ended = self._ending[topic.name] = trio.Event()
        return partial(self._end, supervisor, ended)

    async def renew(self, topic: Topic[Any], drain: float) -> None:
        """Start a topic's pipeline anew, from the function that it has now.

        The one that runs has `drain` seconds to drain. Cancelled while it does, it may not be
        started again.
        """
        supervisor = self.supervisors[topic.name]
        if topic.source is not None and not supervisor.is_over:
            await supervisor.renew(drain)
        elif not self._stopping:
            stop = self.retire(topic)
            self.add(topic)
            await stop(drain)

    # The end

    async def stop(self, within: float) -> None:
        """End every pipeline within so many seconds, each after those that it reads from.

        So what a topic still drains reaches the topics derived from it. None starts any more.
        """
        self._stopping = True
        running = {name: each for name, each in self.supervisors.items() if each.topic.source}
        groups = stopping_order({name: each.reads for name, each in running.items()})
        started = trio.current_time()
        for number, group in enumerate(groups, 1):
            deadline = started + within * number / len(groups)
            async with trio.open_nursery() as nursery:
                for name in group:
                    nursery.start_soon(running[name].stop, max(0.0, deadline - trio.current_time()))


def stopping_order(reads: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Names in groups, each after the groups that hold what it reads. Pure.

    Names that read each other in a circle, and those behind them, are one group, the last.
    """
    left = {name: set(sources) & reads.keys() - {name} for name, sources in reads.items()}
    groups: list[list[str]] = []
    while left:
        free = [name for name, sources in left.items() if not sources & left.keys()]
        group = free or list(left)
        groups.append(group)
        for name in group:
            del left[name]
    return groups
