"""The sink ``publish``: a pipeline's items to a topic of a penstock server."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack

from penstock import _options as stage_options
from penstock._errors import ItemFailed
from penstock._spec import Receiver, Sink, Tally, TaskSink

from ..received import Event, Gap
from .encoding import Encoded, NotPublishable, encoded
from .publisher import Publisher, opened
from .report import PublishReport
from .settings import (
    PublisherOptions,
    PublisherSettings,
    Way,
    require_sound,
    way_to,
)


def publish(
    url: str,
    *,
    event: str | Callable[[Any], str | None] | None = None,
    key: Callable[[Any], str] | None = None,
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    **options: Unpack[PublisherSettings],
) -> Sink[Any, PublishReport]:
    """Publish each item to the topic at ``http(s)://host/topics/NAME``; the result is a report.

    Like `publisher`, with its options: in order, once each, through lost connections and restarts.
    It ends once all items are acknowledged. An `Event` that a reader of another server gave is
    published as its data, under its name, so servers chain into pipelines; a `Gap` is no item to
    be published: filter it out, or map it to something that is.

    Args:
        url: of the topic.
        event: the name of all events, or a function from an item to its event's name or None.
        key: a function from an item to an idempotency key of its own, 1 to 128 printable ASCII
            characters: where the program itself starts again and publishes the same items, those
            that the server remembers are stored once. Each item then takes a request of its own.
        headers: sent with every request, such as ``Authorization``.
        ssl_context: for ``https:``, in place of the system's certificates.
        **options: see `publisher`.

    Raises `PipelineError` for wrong options, and while it runs `StageError` from `Refused`
    (`ItemRefused`, which names the item and the path in it) or from `NotPublishable`; with
    ``errors="skip"`` such items are left out and counted. Cancelled, what waits is abandoned.
    """
    way = way_to("publish", url, headers, ssl_context)
    checked = PublisherOptions(**options)
    require_sound("publish", checked)
    if event is not None and not isinstance(event, str):
        stage_options.function("publish", "event", event)
    if key is not None:
        stage_options.function("publish", "key", key)
    work = partial(_publish, _Naming(event, key), way, checked)
    return Sink("publish", TaskSink(work))


@dataclass(frozen=True, slots=True)
class _Naming:
    """How a pipeline's items become publications."""

    event: str | Callable[[Any], str | None] | None
    key: Callable[[Any], str] | None

    def parts(self, item: Any) -> tuple[object, str | None, str | None]:
        """Its data, its event's name and its key."""
        if isinstance(item, Gap):
            raise NotPublishable(
                "a Gap is not an event; leave it out (.filter(lambda item: isinstance(item,"
                " Event))) or map it to data of yours"
            )
        data, event = (item.data, item.event) if isinstance(item, Event) else (item, None)
        if self.event is not None:
            event = self.event if isinstance(self.event, str) else self.event(item)
        return data, event, None if self.key is None else self.key(item)


async def _publish(
    naming: _Naming, way: Way, options: PublisherOptions, receive: Receiver[Any], tally: Tally
) -> PublishReport:
    async with opened(way, options) as topic:
        async for items in receive.chunks():
            await _hand_in(topic, items, naming, options)
        await topic.flush()
        return topic.statistics()


async def _hand_in(
    topic: Publisher, items: list[Any], naming: _Naming, options: PublisherOptions
) -> None:
    ready: list[Encoded] = []
    for item in items:
        try:
            ready.append(encoded(*naming.parts(item)))
        except Exception as error:
            await topic.hand_in_all(ready)
            ready = []
            if options.errors == "raise":
                await topic.flush()  # what came before is published all the same
                raise ItemFailed(item) from error
            topic.skip()
    await topic.hand_in_all(ready)
