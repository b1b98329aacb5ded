"""Why a server is one process, and how several are noticed.

Each worker process would have topics of its own: what is published to one would not be read from
another, and a cursor of one means nothing to the next.
"""

from __future__ import annotations

from typing import Any, Final

SEVERAL_WORKERS: Final = (
    "a server is one process, for its topics live in that process's memory: readers of one worker"
    " would not see what is published to another. Until a log can be shared, run one process for"
    " each set of topics, behind a proxy that sends each topic to its own"
)


def workers_of(send: object) -> int:
    """How many worker processes a Hypercorn has, from the ``send`` of its lifespan; 1 where that is
    not known. ``0`` of Hypercorn's, for no process besides its own, counts as 1.
    """
    config: Any = getattr(getattr(send, "__self__", None), "config", None)
    workers: object = getattr(config, "workers", None)
    return workers if isinstance(workers, int) and workers > 1 else 1
