"""The topics of a server: those declared, and the live instances of its templates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .jobs import Job
from .templates import Template
from .topics import Topic


class Catalogue:
    """Finds topics by name, and makes and drops the instances of templates.

    Attributes:
        topics: every topic that there is right now, by name; those declared come first.
        templates: the templates by name, in the order they were declared.
        jobs: the jobs by name, likewise.
        made: told of each new instance.
    """

    def __init__(self) -> None:
        self.topics: dict[str, Topic[Any]] = {}
        self.templates: dict[str, Template[Any]] = {}
        self.jobs: dict[str, Job[Any]] = {}
        self.made: Callable[[Topic[Any]], None] = _ignore

    def find(self, name: str) -> Topic[Any] | None:
        """The topic of this name, made where a template stands for it; None where there is none.

        A use of the topic: its time of idleness starts anew. Raises `TooManyTopics`.
        """
        topic = self.topics.get(name)
        if topic is not None:
            topic.touch()
            return topic
        for template in self.templates.values():
            values = template.pattern.match(name)
            if values is not None:
                return self._make(template, name, values)
        return None

    def knows(self, name: str) -> bool:
        """Whether there is such a topic, or would be at its first use; makes none."""
        return name in self.topics or any(
            template.pattern.match(name) for template in self.templates.values()
        )

    def _make(self, template: Template[Any], name: str, values: dict[str, str]) -> Topic[Any]:
        topic = template.make(name, values)
        self.topics[name] = topic
        self.made(topic)
        return topic

    def drop(self, topic: Topic[Any]) -> None:
        """Forget an instance: who holds on to it is led to the next one of its name."""

        def successor() -> Topic[Any]:
            found = self.find(topic.name)
            assert found is not None, "its template still stands for its name"
            return found

        assert topic.template is not None, "only an instance of a template is dropped"
        del self.topics[topic.name]
        del self.templates[topic.template].instances[topic.name]
        topic.successor = successor


def _ignore(_: Topic[Any]) -> None:
    """For when nobody runs the topics yet."""
