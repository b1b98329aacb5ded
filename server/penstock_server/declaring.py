"""Declaring a topic or a template: its name, checked against those that there are."""

from __future__ import annotations

from typing import Any

import penstock as ps

from .catalogue import Catalogue
from .options import TopicOptions
from .templates import Pattern, Template
from .topics import NAME, Topic

_LONGEST_NAME = 128


def declare(
    catalogue: Catalogue, name: str, options: TopicOptions, where: ps.Location | None
) -> Topic[Any]:
    """Add a topic, or a template where the name has ``{parts}``.

    Raises `PipelineError` for a name that is wrong or taken, or an option that is wrong.
    """

    def refuse(problem: str) -> ps.PipelineError:
        return ps.PipelineError(f"topic {name!r}", problem, where)

    taken = catalogue.topics.get(name) or catalogue.templates.get(name)
    if taken is not None:
        raise refuse(f"there is a topic {name!r} already, at {taken.where}")
    given: object = name
    if isinstance(given, str) and ("{" in given or "}" in given):
        pattern = _pattern(catalogue, given, refuse)
        template = Template[Any](pattern, options.checked(name, where), where, catalogue.find)
        catalogue.templates[name] = template
        return template
    if not isinstance(given, str) or not NAME.fullmatch(given):
        raise refuse(f"name must be 1 to 128 of letters, digits, '.', '_', '-', got {name!r}")
    topic: Topic[Any] = Topic(name, options.checked(name, where), where)
    catalogue.topics[name] = topic
    return topic


def _pattern(catalogue: Catalogue, name: str, refuse: Any) -> Pattern:
    if len(name) > _LONGEST_NAME:
        raise refuse("name must be at most 128 characters long")
    try:
        pattern = Pattern(name)
    except ValueError as fault:
        raise refuse(str(fault)) from fault
    for other in catalogue.templates.values():
        if pattern.overlaps(other.pattern):
            raise refuse(f"could stand for the same name as {other.name!r}, at {other.where}")
    return pattern
