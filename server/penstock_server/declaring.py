"""Declaring a topic, a template or a job: its name, checked against those that there are."""

from __future__ import annotations

from typing import Any

import penstock as ps

from .catalogue import Catalogue
from .compat import ChatModel, ChatOptions
from .jobs import Job, JobOptions
from .options import TopicOptions
from .templates import Pattern, Template
from .topics import NAME, Topic

_LONGEST_NAME = 128
_LONGEST_JOB_NAME = 64  # a run's log has the job's name and the run's id as its own


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
        template = Template[Any](
            pattern, options.checked(f"topic {name!r}", where), where, catalogue.find
        )
        catalogue.templates[name] = template
        return template
    if not isinstance(given, str) or not NAME.fullmatch(given):
        raise refuse(f"name must be 1 to 128 of letters, digits, '.', '_', '-', got {name!r}")
    topic: Topic[Any] = Topic(name, options.checked(f"topic {name!r}", where), where)
    catalogue.topics[name] = topic
    return topic


def declare_job(
    catalogue: Catalogue, name: str, options: JobOptions, where: ps.Location | None
) -> Job[Any]:
    """Add a job. Raises `PipelineError` for a name that is wrong or taken, or a wrong option."""
    _check_job_name(catalogue, f"job {name!r}", name, where)
    job: Job[Any] = Job(name, options.checked(name, where), where)
    catalogue.jobs[name] = job
    return job


def declare_chat_model(
    catalogue: Catalogue, name: str, options: ChatOptions, where: ps.Location | None
) -> ChatModel:
    """Add a chat model. Raises `PipelineError` as `declare_job` does."""
    _check_job_name(catalogue, f"chat model {name!r}", name, where)
    model = ChatModel(name, options.checked(name, where).checked(name, where), options, where)
    catalogue.jobs[name] = model
    return model


def _check_job_name(catalogue: Catalogue, stage: str, name: str, where: ps.Location | None) -> None:
    taken = catalogue.jobs.get(name)
    if taken is not None:
        raise ps.PipelineError(stage, f"there is a job {name!r} already, at {taken.where}", where)
    given: object = name
    if not isinstance(given, str) or not NAME.fullmatch(given) or len(given) > _LONGEST_JOB_NAME:
        problem = f"name must be 1 to {_LONGEST_JOB_NAME} of letters, digits, '.', '_', '-'"
        raise ps.PipelineError(stage, f"{problem}, got {name!r}", where)


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
