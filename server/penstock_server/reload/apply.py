"""Doing to a running server what the plan says.

The config file that was loaded anew has made new objects for topics that run already. Those become
the running ones: two objects with one state. So the code of both loads reads and publishes to the
same topics, and what holds on to a topic needn't be told. Jobs are simpler: the next run is of the
new code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import trio

from ..catalogue import Catalogue
from ..hub import Hub
from ..jobs import Job
from ..templates import Template, TooManyTopics
from ..topics import Topic
from .plan import Action

T = TypeVar("T")

DRAIN_SECONDS = 3.0
"""For a pipeline that is restarted or removed; what is in flight then is lost."""


def become(new: T, running: T) -> None:
    """Let `new` be what `running` is, from now on: they share all their state."""
    new.__dict__ = running.__dict__


async def apply(hub: Hub, declared: Catalogue, actions: Mapping[str, Action]) -> None:
    """Bring the running server to what is declared now. Clients keep what is not replaced.

    The topics are exchanged at once; then pipelines are stopped, draining, and started. Cancelled
    while it waits for that, some have not been started again.
    """
    exchange = _Exchange(hub, declared)
    for name, action in actions.items():
        exchange.take(name, action)
    exchange.finish()
    async with trio.open_nursery() as nursery:
        for topic in exchange.restarted:
            nursery.start_soon(hub.lifecycle.renew, topic, DRAIN_SECONDS)
        for end in exchange.ends:
            nursery.start_soon(end)


class _Exchange:
    """The declared topics, put in the places of the running ones without a checkpoint.

    Attributes:
        restarted: the topics whose pipelines are to be started again.
        ends: what ends the pipelines of those that are there no more.
    """

    def __init__(self, hub: Hub, declared: Catalogue) -> None:
        self.restarted: list[Topic[Any]] = []
        self.ends: list[Callable[[], Awaitable[None]]] = []
        self._hub = hub
        self._live = hub.catalogue
        named = {**declared.topics, **declared.templates}
        self._topics = {name: each for name, each in named.items() if each.template is None}
        self._instances = [each for each in declared.topics.values() if each.template is not None]
        self._added: list[Topic[Any]] = []
        self._jobs = dict(declared.jobs)
        become(declared, hub.catalogue)

    def take(self, name: str, action: Action) -> None:
        """Do what is to be done about one topic, but for what takes time."""
        running = self._live.templates.get(name) or self._live.topics.get(name)
        if action in ("removed", "replaced"):
            assert running is not None, "only what is there is removed"
            self._take_out(running, replaced=action == "replaced")
        if action in ("added", "replaced"):
            self._put_in(self._topics[name])
        elif running is not None and action != "removed":
            self._unite(running, self._topics[name], restart=action == "restarted")

    def finish(self) -> None:
        """Put all in the order of their declaration, and hand the new ones to the lifecycle."""
        _sort(self._live.topics, list(self._topics))
        _sort(self._live.templates, list(self._topics))
        for topic in self._added:
            self._hub.lifecycle.add(topic)
        for instance in self._instances:
            with suppress(TooManyTopics):
                running = self._live.find(instance.name)
                if running is not None:
                    become(instance, running)
        self._exchange_jobs()

    def _exchange_jobs(self) -> None:
        """Let the jobs be those of the new load. Runs that run go on, with what they were made of.

        There is one dictionary of jobs for as long as the server lives.
        """
        running, jobs = dict(self._live.jobs), self._live.jobs
        jobs.clear()
        for name, declared in self._jobs.items():
            jobs[name] = _renewed(running.get(name), declared)

    def _put_in(self, topic: Topic[Any]) -> None:
        if isinstance(topic, Template):
            # Those made while the file was loaded are made anew, among the running ones.
            topic.instances.clear()
            topic.find_with(self._live.find)
            self._live.templates[topic.name] = topic
        else:
            self._live.topics[topic.name] = topic
            self._added.append(topic)

    def _take_out(self, topic: Topic[Any], *, replaced: bool) -> None:
        if isinstance(topic, Template):
            for instance in list(topic.instances.values()):
                self._take_out(instance, replaced=replaced)
            del self._live.templates[topic.name]
            return
        stop = partial(self._hub.lifecycle.retire(topic), DRAIN_SECONDS)
        if topic.template is not None:
            self._live.drop(topic)
        else:
            del self._live.topics[topic.name]
        if replaced:
            topic.successor = lambda: self._live.find(topic.name) or topic
            self._hub.connections.end_readers(topic.name)
            self.ends.append(stop)
        else:
            topic.successor = None
            self.ends.append(partial(_finish, topic, stop))

    def _unite(self, running: Topic[Any], declared: Topic[Any], *, restart: bool) -> None:
        running.take_options(declared.options)
        running.where = declared.where
        if restart:
            running.source = declared.source
        if isinstance(running, Template):
            for instance in running.instances.values():
                instance.take_options(running.options)
                if restart:
                    running.give_source(instance)
                    self.restarted.append(instance)
        elif restart:
            self.restarted.append(running)
        become(declared, running)


def _renewed(running: Job[Any] | None, declared: Job[Any]) -> Job[Any]:
    """The job as it is declared now; the code of the last load has the same one."""
    if running is None or type(running) is not type(declared):
        return declared
    running.__dict__.update(declared.__dict__)
    become(declared, running)
    return running


async def _finish(topic: Topic[Any], stop: Callable[[], Awaitable[None]]) -> None:
    """End a topic that is declared no more: its readers get what it still has, and the end."""
    await stop()
    topic.log.finish()


def _sort(places: dict[str, T], order: list[str]) -> None:
    """Put a dictionary's items into an order, in place; others follow as they were."""
    rank = {name: place for place, name in enumerate(order)}
    items = sorted(places.items(), key=lambda item: rank.get(item[0], len(rank)))
    places.clear()
    places.update(items)
