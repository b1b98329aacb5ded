"""``--reload``: watch the config file, and bring the running server to what it says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio

from penstock.config import ConfigError, ConfigFile, Target

from ..server import Server
from ..supervisor import Supervisor
from ..templates import Template
from .apply import DRAIN_SECONDS, apply, become
from .fingerprints import Fingerprints
from .generations import Generations, key_of_job
from .loading import (
    Loaded,
    is_same_code,
    loaded,
    main_path,
    neighbours,
    own_modules,
    reloading,
)
from .plan import Action, Side, plan, restart_needed, summary
from .watch import Contents, next_change, read_files

logger = logging.getLogger("penstock.reload")


class _ChangedAgain(Exception):
    """The files were written to while they were loaded."""


class Reloader:
    """Keeps a running server at what its config file says, for development.

    Args:
        target: the file, and the server in it, as the user named them.
        config: the file, loaded.
        server: the server in it, which runs.
        say: gets each line for the user.
    """

    def __init__(
        self, target: Target, config: ConfigFile, server: Server, say: Callable[[str], None]
    ) -> None:
        self._target = target
        self._server = server
        self._hub = server.hub
        self._say = say
        self._main = main_path(config)
        self._now = loaded(config, server)
        self._running: Fingerprints = self._now.fingerprints
        self._known: Contents = dict(self._now.contents)
        self._failed = False

    async def run(self) -> None:
        """Watch and reload until cancelled, or until the server drains.

        Cancelled amidst a reload, some pipelines may not have been started again.
        """
        async with trio.open_nursery() as nursery:
            generations = Generations(self._hub, nursery)
            with self._hub.until_drain():
                while True:
                    now = await next_change(self._watched, self._known)
                    changed = {
                        path: content
                        for path, content in now.items()
                        if content != self._known[path]
                    }
                    self._known.update(now)
                    await self._try(changed, generations)

    async def _try(self, changed: Contents, generations: Generations) -> None:
        try:
            await self._reload(changed, generations)
        except Exception:
            logger.exception("the reload failed; some topics may be as they were")

    def _watched(self) -> set[Path]:
        """The files of the modules, also of those that functions have imported since.

        While the file can't be loaded also those beside it, of which one may be to blame; one that
        appears then is a change.
        """
        files = {self._main, *self._now.contents}
        files |= {Path(str(each.__file__)) for each in own_modules(self._main).values()}
        if self._failed:
            beside = set(neighbours(self._main))
            self._known |= dict.fromkeys(beside - self._known.keys())
            files |= beside
        return files

    def _note_failure(self, problem: str) -> None:
        self._failed = True
        self._known |= read_files(set(neighbours(self._main)) - self._known.keys())
        self._say(problem)

    async def _reload(self, changed: Contents, generations: Generations) -> None:
        if is_same_code(self._now.sources, changed):
            self._failed = False
            self._report(dict.fromkeys(self._now.fingerprints.topics, "kept"), ())
            return
        with self._released_at_last() as held:
            async with trio.open_nursery() as nursery:
                for supervisor in held:
                    nursery.start_soon(supervisor.hold, DRAIN_SECONDS)
            await self._load_and_apply(generations)

    @contextmanager
    def _released_at_last(self) -> Generator[list[Supervisor]]:
        """The pipelines that hand functions to worker processes, by names.

        While another load's functions have these names they can't run, so they are held.
        """
        prints, hub = self._now.fingerprints.topics, self._hub
        held = [
            hub.supervisors[name]
            for name, topic in hub.topics.items()
            if prints[topic.template or name].on_processes
        ]
        try:
            yield held
        finally:
            for supervisor in held:
                supervisor.release()

    async def _load_and_apply(self, generations: Generations) -> None:
        try:
            with reloading(self._target, self._now) as new:
                if any(read_files([path])[path] != now for path, now in self._known.items()):
                    raise _ChangedAgain
                actions = plan(_sides(self._now, self._server), _sides(new, new.server))
                made = self._check(new, actions)
                number = await self._open(new, made, generations)
        except ConfigError as error:
            self._note_failure(str(error))
            return
        except _ChangedAgain:
            return
        jobs = list(new.server.jobs)
        gone = [name for name, action in actions.items() if action == "removed"]
        gone += [key_of_job(name) for name in self._hub.catalogue.jobs if name not in jobs]
        generations.keep_for(self._hub.jobs.all_running())
        await apply(self._hub, new.server.hub.catalogue, actions)
        become(new.server, self._server)
        generations.moved(number, made, gone)
        last, self._now, self._failed = self._now, new, False
        self._known |= {path: new.contents[path] for path in new.contents.keys() - self._known}
        self._report(actions, jobs)
        for part in restart_needed(self._running, last.fingerprints, new.fingerprints):
            self._say(f"penstock: the change of {part} needs a restart")

    def _report(self, actions: Mapping[str, Action], jobs: Collection[str]) -> None:
        self._say(f"penstock: reloaded {self._main.name}: {summary(actions, jobs)}")

    def _check(self, new: Loaded, actions: Mapping[str, Action]) -> list[str]:
        """Build the pipelines that are to be started; gives their topics, and all jobs.

        Raises `ConfigError` for the first that can't be built, and a job without a function.
        """
        made: list[str] = []
        declared, live = new.server.hub.catalogue, self._hub.catalogue
        topics = {**declared.topics, **declared.templates}
        for name, action in actions.items():
            if action in ("kept", "changed", "removed") or topics[name].source is None:
                continue
            made.append(name)
            topic, running = topics[name], live.templates.get(name)
            if not isinstance(topic, Template):
                new.config.build(name, topic.build)
            elif running is not None and topic.source is not None:
                for values in filter(None, map(running.pattern.match, list(running.instances)[:1])):
                    new.config.build(name, partial(topic.source, **values))
        for name, job in declared.jobs.items():
            if not job.is_declared:
                new.config.build(name, job.refuse)
        return made + [key_of_job(name) for name in declared.jobs]

    async def _open(self, new: Loaded, made: list[str], generations: Generations) -> int:
        """Set up what the new pipelines share. Raises `ConfigError` where that fails."""
        resources = new.server.resources
        try:
            return await generations.open(resources if made else None)
        except Exception as error:
            raise new.config.blame(error) from error


def _sides(side: Loaded, server: Server) -> dict[str, Side]:
    """What each topic is like; of a running one, whether its log has ended."""
    catalogue = server.hub.catalogue
    topics = {**catalogue.topics, **catalogue.templates}
    return {
        name: Side(print_, topics[name].options, topics[name].log.bounds().ended)
        for name, print_ in side.fingerprints.topics.items()
        if name in topics
    }
