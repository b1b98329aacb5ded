"""``publisher``: publishing to a topic of a penstock server, for applications.

Items are encoded when they are handed in, wait in a bounded queue, and are sent in batches, one
request at a time, until each is acknowledged. What to do about each answer is decided in
`Deliveries`.
"""

from __future__ import annotations

import random
import secrets
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from penstock._backoff import Backoff

from ..losses import Loss, Refused, log_loss
from .encoding import Encoded, encoded
from .policy import STALLED_AFTER, Deliveries, Errors
from .queue import OfflineQueue
from .report import Acknowledgement, PublishReport
from .requests import NoAnswer, Requests, open_requests
from .settings import (
    BATCH,
    BATCH_BYTES,
    IDEMPOTENCY_WINDOW,
    QUEUE,
    QUEUE_BYTES,
    TIMEOUT,
    Overflow,
    PublisherOptions,
    Way,
    require_sound,
    way_to,
)


class Publisher:
    """Publishes items to one topic, in order; from `publisher`, while its block runs.

    Several tasks may use it. Once the server has refused for good, everything here raises that
    `Refused`.
    """

    def __init__(
        self, deliveries: Deliveries, overflow: Overflow, on_loss: Callable[[Loss], object]
    ) -> None:
        self._deliveries = deliveries
        self._overflow: Overflow = overflow
        self._on_loss = on_loss
        self._turn = trio.Lock()  # those who wait for room are served in their order
        self._changed = trio.Event()
        self._handed_in = trio.Event()
        self._refused: Refused | None = None
        self._closed = False

    def statistics(self) -> PublishReport:
        """What became of all items so far."""
        return self._deliveries.report()

    async def publish(self, data: object, event: str | None = None) -> None:
        """Hand one item in; it is sent as soon as it can be.

        While the server is there and the queue is full, this waits. While it can't be reached, the
        oldest item makes room (``overflow="drop_oldest"``), or this waits, too (``"block"``).
        `flush` waits until items are stored.

        Args:
            data: anything that can be said on the wire: plain values, dataclasses, Structs, dates.
            event: the event's name; None where it has none.

        Raises `NotPublishable`, `Refused`, and `trio.ClosedResourceError` after the block.
        Cancelled while it waits, the item was not handed in.
        """
        await self.hand_in_all([encoded(data, event)])

    async def hand_in_all(self, items: Sequence[Encoded]) -> None:
        """`publish` for several. Cancelled, only the first ones may have been handed in."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._require_open()
        done = 0
        if not self._turn.locked():
            while done < len(items) and self._may_put(items[done]):
                self._put(items[done])
                done += 1
        if done < len(items):
            async with self._turn:
                await self._hand_in_turn(items[done:])
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _hand_in_turn(self, items: Sequence[Encoded]) -> None:
        for item in items:
            while not self._may_put(item):
                with trio.move_on_after(STALLED_AFTER):
                    await self._changed.wait()
                self._require_open()
            self._put(item)

    def publish_nowait(self, data: object, event: str | None = None) -> None:
        """`publish` for code that can't wait: a full queue drops its oldest item, counted.

        With ``overflow="block"`` it raises `trio.WouldBlock` instead, and the item is not taken.
        """
        item = encoded(data, event)
        self._require_open()
        if self._overflow == "block" and not self._has_room(item):
            raise trio.WouldBlock
        self._put(item)

    def skip(self) -> None:
        """Count an item that is left out because it can't be published."""
        self._deliveries.skip()

    async def flush(self) -> None:
        """Wait until all items that were handed in before are stored, dropped or skipped.

        Raises `Refused`. For a limit, put it into ``trio.move_on_after``.
        """
        await trio.lowlevel.checkpoint()
        target = self._deliveries.taken
        while True:
            if self._refused is not None:
                raise self._refused
            if self._deliveries.oldest >= target:
                return
            await self._changed.wait()

    def _has_room(self, item: Encoded) -> bool:
        return self._deliveries.queue.has_room(len(item.body))

    def _may_put(self, item: Encoded) -> bool:
        if self._has_room(item):
            return True
        return self._overflow == "drop_oldest" and not self._deliveries.reachable(
            trio.current_time()
        )

    def _put(self, item: Encoded) -> None:
        self._deliveries.put(item)
        self._handed_in.set()

    def _require_open(self) -> None:
        if self._refused is not None:
            raise self._refused
        if self._closed:
            raise trio.ClosedResourceError("this publisher is closed")

    # The task that sends

    async def send_all(
        self, requests: Requests, on_acknowledged: Callable[[Acknowledgement], object]
    ) -> None:
        """Send what is handed in until cancelled, or until the server refuses for good."""
        try:
            while True:
                await self._send_next(requests, on_acknowledged)
                self._tell()
        except Refused as refused:
            self._refused = refused
            self._tell()

    async def _send_next(
        self, requests: Requests, on_acknowledged: Callable[[Acknowledgement], object]
    ) -> None:
        deliveries = self._deliveries
        batch = deliveries.next(trio.current_time())
        if batch is None:
            self._handed_in = trio.Event()
            await self._handed_in.wait()
            return
        outcome: Acknowledgement | Loss | None
        try:
            answer = await requests.send(batch)
        except NoAnswer as failure:
            outcome = deliveries.failed(failure.problem, arrived=failure.arrived, chance=_chance())
        else:
            outcome = deliveries.answered(answer, trio.current_time(), _chance())
        if isinstance(outcome, Acknowledgement):
            on_acknowledged(outcome)
        elif outcome is not None:
            self._tell()
            self._on_loss(outcome)
            await trio.sleep(outcome.delay)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def close(self) -> None:
        """Take no more items."""
        self._closed = True
        self._tell()


@asynccontextmanager
async def publisher(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    reconnect: Backoff = Backoff(),  # noqa: B008 - frozen
    queue: int = QUEUE,
    queue_bytes: int = QUEUE_BYTES,
    overflow: Overflow = "drop_oldest",
    errors: Errors = "raise",
    batch: int = BATCH,
    batch_bytes: int = BATCH_BYTES,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of a request, not of this
    idempotency_window: float = IDEMPOTENCY_WINDOW,
    ssl_context: ssl.SSLContext | None = None,
    on_loss: Callable[[Loss], object] | None = None,
    on_acknowledged: Callable[[Acknowledgement], object] = lambda _: None,
) -> AsyncGenerator[Publisher, None]:
    """Publish to the topic at ``http(s)://host/topics/NAME`` while the block runs.

    Items are sent in order, and stored once each, through lost connections and restarts of the
    server: every request has an idempotency key and is repeated until it is answered. The server
    remembers keys for a time (`idempotency_window`); where an answer was lost and the server could
    not be asked again for longer than that, the items of that one request may be stored twice.
    They are sent again all the same, and counted as `uncertain`.

    Args:
        url: of the topic.
        headers: sent with every request, such as ``Authorization``.
        reconnect: the waits after failures, with jitter. The server may ask for longer ones.
        queue: the most items that wait.
        queue_bytes: the most bytes of them.
        overflow: what a full queue does while the server can't be reached: ``drop_oldest``
            (counted), or ``block`` those who publish. While it is there, `publish` waits anyway.
        errors: ``raise`` where the server refuses an item, or ``skip`` it, counted.
        batch: the most items in a request.
        batch_bytes: the most bytes of a request with several items; the server's
            ``max_message_bytes`` should be no less, else batches are halved.
        timeout: seconds for a request and its answer.
        idempotency_window: for how long the server remembers keys; its default is 300.
        ssl_context: for ``https:``, in place of the system's certificates.
        on_loss: told of each failure before the wait. Without it, the first one of several in a
            row is logged as a warning of ``penstock.net``, the others at level DEBUG.
        on_acknowledged: told of each request that is stored.

    Leaving the block waits until everything is stored, however long the server is away; leaving it
    with an error, or cancelled, abandons what waits. Raises `PipelineError` for wrong options, and
    `Refused` (`ItemRefused` for an item) for what no further attempt can mend.
    """
    options = PublisherOptions(
        reconnect=reconnect,
        queue=queue,
        queue_bytes=queue_bytes,
        overflow=overflow,
        errors=errors,
        batch=batch,
        batch_bytes=batch_bytes,
        timeout=timeout,
        idempotency_window=idempotency_window,
        on_loss=on_loss,
        on_acknowledged=on_acknowledged,
    )
    way = way_to("publisher", url, headers, ssl_context)
    require_sound("publisher", options)
    async with opened(way, options) as open_publisher:
        yield open_publisher


@asynccontextmanager
async def opened(way: Way, options: PublisherOptions) -> AsyncGenerator[Publisher, None]:
    """See `publisher`."""
    deliveries = Deliveries(
        OfflineQueue(options.queue, options.queue_bytes),
        most=options.batch,
        most_bytes=options.batch_bytes,
        errors=options.errors,
        backoff=options.reconnect,
        window=options.idempotency_window,
        name=secrets.token_urlsafe(12),
    )
    on_loss = options.on_loss or partial(log_loss, str(way.url))
    made = Publisher(deliveries, options.overflow, on_loss)
    failure: Exception | None = None
    async with open_requests(way, options.timeout) as requests, trio.open_nursery() as nursery:
        nursery.start_soon(made.send_all, requests, options.on_acknowledged)
        try:
            yield made
            await made.flush()
        except Exception as error:  # noqa: BLE001 - raised below, outside of the nursery
            failure = error
        finally:
            made.close()
        nursery.cancel_scope.cancel("the publisher is closed")
    if failure is not None:
        raise failure


def _chance() -> float:
    return random.random()  # noqa: S311 - jitter
