"""Where a task's items go: the fused operators, then the fused sink or the next task's channel.

The `Outlet` cuts what its task's head sends to about a millisecond of work, runs the fused steps
over each piece, and gives the event loop its turn between pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import trio

from ._channel import Channel
from ._errors import ItemFailed, StageError, short_repr
from ._pace import BUDGET, Pace
from ._spec import Chunk, Node, Step, StepOp, StepSink

_SELDOM = 0.0001
"""Seconds between two items from which on they are few: more of them travel in chunks."""


class Probe:
    """The running counts of one stage, and the control that its fused function gets."""

    __slots__ = (
        "_on_finish",
        "abandoned",
        "busy",
        "errors",
        "finished",
        "flushes",
        "items_in",
        "items_out",
        "node",
        "skipped_items",
    )

    def __init__(self, node: Node) -> None:
        self.node = node
        self.items_in = 0
        self.items_out = 0
        self.errors = 0
        self.skipped_items = 0
        self.abandoned = 0
        self.busy = 0.0
        self.finished = False
        self.flushes: list[Callable[[], Chunk]] = []

    def finish(self) -> None:
        """See `StepControl.finish`."""
        self.finished = True

    def at_end(self, flush: Callable[[], Chunk]) -> None:
        """See `StepControl.at_end`."""
        self.flushes.append(flush)

    def skipped(self, count: int) -> None:
        """See `StepControl.skipped`."""
        self.skipped_items += count
        self.errors += count

    def failure(self, error: BaseException) -> StageError:
        """The error that the user sees for ``error`` raised by this stage; counts it."""
        self.errors += 1
        node = self.node
        if isinstance(error, ItemFailed):
            cause = error.__cause__ or error
            return StageError(node.name, cause, item_repr=short_repr(error.item), where=node.where)
        return StageError(node.name, error, where=node.where)


class Outlet:
    """Where a segment's head sends: the fused steps, then the sink or the next channel.

    It is the `Sender` that task operators and producers get.
    """

    __slots__ = (
        "_channel",
        "_consume",
        "_head",
        "_pace",
        "_reader",
        "_relay",
        "_sent",
        "_sink",
        "_steps",
        "_unyielded",
        "head_scope",
        "result",
        "scope",
        "sending",
        "stopping",
    )

    def __init__(
        self,
        head: Probe | None,
        steps: list[Probe],
        sink: Probe | None,
        channel: Channel | None,
        reader: Probe | None,
    ) -> None:
        self._head = head
        self._steps: list[tuple[Probe, Step]] = [
            (probe, probe.node.op.start(probe))
            for probe in steps
            if isinstance(probe.node.op, StepOp)
        ]
        self._sink = sink
        self._consume: Callable[[Chunk], None] | None = None
        self.result: Callable[[], Any] | None = None
        if sink is not None and isinstance(sink.node.op, StepSink):
            self._consume, self.result = sink.node.op.start(sink)
        self._channel = channel
        self._reader = reader
        self._pace = Pace()
        self._relay: Outlet | None = None
        self._sent = 0.0
        self._unyielded = 0.0
        self.scope = trio.CancelScope()
        self.head_scope = trio.CancelScope()
        self.sending = 0
        self.stopping = False
        self._check_finished()

    @property
    def piece(self) -> int:
        """How many items a synchronous source should give next."""
        return self._pace.size

    def relay_to(self, outlet: Outlet) -> None:
        """Items go through a channel to a task that has nothing to do but hand them to `outlet`."""
        self._relay = outlet

    async def __call__(self, item: Any) -> None:
        """See `Sender.__call__`."""
        if self._relay is None:
            await self.chunk([item])
            return
        before, self._sent = self._sent, perf_counter()
        if self._sent - before > _SELDOM and self._is_relay_idle(self._relay):
            await self.chunk([item], relay=self._relay)
        else:
            await self.chunk([item])

    def _is_relay_idle(self, relay: Outlet) -> bool:
        assert self._channel is not None, "a relay is behind a channel"
        return self._channel.is_idle and not relay.head_scope.cancel_called

    async def _hand_over(self, items: Chunk, relay: Outlet) -> None:
        """Do the relay's work in its place: waking its task costs more than most work does.

        What fails there is raised by its task, as it would be otherwise.
        """
        assert self._channel is not None, "a relay is behind a channel"
        self._channel.note_passed(len(items))
        try:
            await relay.chunk(items)
        except Exception as error:  # noqa: BLE001 - raised by the relay's task
            self._channel.fail(error)
            await trio.sleep_forever()

    def skipped(self, count: int) -> None:
        """See `CountingSender.skipped`."""
        assert self._head is not None, "only a head leaves items out"
        self._head.skipped(count)

    async def chunk(
        self, items: Chunk, started: float | None = None, relay: Outlet | None = None
    ) -> None:
        """See `Sender.chunk`. ``started`` is when a synchronous source began to make them, `relay`
        is given where this task is to do its work.
        """
        if self._head is not None:
            self._head.items_out += len(items)
        self.sending += 1
        try:
            size = self._pace.size
            if relay is not None:
                await self._hand_over(items, relay)
            elif len(items) <= size or not (self._steps or self._consume):
                await self._pass(items, perf_counter() if started is None else started)
            else:
                await self._pass_in_pieces(items)
        finally:
            self.sending -= 1
        if self.stopping and not self.sending:
            self.head_scope.cancel("told to stop")
        if self.head_scope.cancel_called:
            await trio.lowlevel.checkpoint()

    async def _pass_in_pieces(self, items: Chunk) -> None:
        start = 0
        while start < len(items) and not self.head_scope.cancel_called:
            end = start + self._pace.size
            await self._pass(items[start:end], perf_counter())
            start = end
        if start < len(items):
            self._first_fused.abandoned += len(items) - start

    @property
    def _first_fused(self) -> Probe:
        first = self._steps[0][0] if self._steps else self._sink
        assert first is not None, "only fused stages work in pieces"
        return first

    async def _pass(self, items: Chunk, started: float) -> None:
        count = len(items)
        items = self._process(items, 0)
        seconds = perf_counter() - started
        self._pace.record(count, seconds)
        self._unyielded += seconds
        if items:
            await self._send_on(items)
        self._check_finished()
        if self._unyielded >= BUDGET:
            self._unyielded = 0.0
            await trio.lowlevel.checkpoint()

    async def _send_on(self, items: Chunk) -> None:
        assert self._channel is not None, "a segment without a sink has an outlet"
        try:
            await self._channel.send(items)
        except trio.BrokenResourceError:
            self.scope.cancel("the stages behind want no more items")
            await trio.lowlevel.checkpoint()
        except Exception as error:  # noqa: BLE001 - the buffer's policy, or its key function
            assert self._reader is not None, "a channel has a reader"
            failure = self._reader.failure(error)
            raise failure from failure.cause

    def _process(self, items: Chunk, first: int) -> Chunk:
        """Run the fused stages from number ``first`` on over one piece."""
        steps = self._steps[first:] if first else self._steps
        probe = self._sink
        before = perf_counter()
        try:
            for probe, step in steps:
                if not items:
                    return items
                probe.items_in += len(items)
                items = step(items)
                probe.items_out += len(items)
                now = perf_counter()
                probe.busy += now - before
                before = now
            if self._consume is None or not items:
                return items
            probe = self._sink
            assert probe is not None
            probe.items_in += len(items)
            self._consume(items)
            probe.busy += perf_counter() - before
        except Exception as error:  # noqa: BLE001 - the user's functions may raise anything
            assert probe is not None
            probe.abandoned += max(0, len(items) - 1)
            failure = probe.failure(error)
            raise failure from failure.cause
        return []

    def _check_finished(self) -> None:
        """End the head as soon as a fused stage wants no more."""
        for probe, _ in self._steps:
            if probe.finished:
                self.head_scope.cancel(f"{probe.node.name} wants no more items")
        if self._sink is not None and self._sink.finished:
            self.head_scope.cancel(f"{self._sink.node.name} wants no more items")

    async def flush(self) -> None:
        """Let what the fused stages still hold flow out, after the last item."""
        if self._sink is not None and self._sink.finished:
            return
        finished = [number for number, (probe, _) in enumerate(self._steps) if probe.finished]
        first = finished[-1] if finished else 0
        for number, (probe, _) in enumerate(self._steps):
            if number < first:
                continue
            for flush in probe.flushes:
                items = flush()
                probe.items_out += len(items)
                items = self._process(items, number + 1)
                if items:
                    await self._send_on(items)
