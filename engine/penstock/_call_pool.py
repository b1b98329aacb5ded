"""A bounded pool of calls in flight: the work of ``map_async``, ``map_blocking`` and ``for_each``.

At most ``concurrency`` calls run at any time, and at most twice that many items have been admitted
and not yet been passed on, so a slow first call holds back the source rather than filling memory.
Workers start when there is work for them and take the next item without a switch of tasks.

With a ``key``, an item whose key has a call in flight waits in the lane of that key. It goes to the
end of the line once that call is over, so that other keys get their turn. As those that wait count
among the admitted, a key that fills them all holds up the others until its calls are through.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from operator import length_hint
from time import perf_counter
from typing import Any, Protocol

import trio

from ._errors import AsyncMismatch, ItemFailed
from ._failing import LEFT_OUT, Errors, first_checked, settle
from ._pace import BUDGET
from ._spec import Chunk, Tally, function_name


class Source(Protocol):
    """What the pool reads from."""

    async def chunk(self) -> Chunk:
        """Wait for items and give them; raises ``trio.EndOfChannel`` after the last."""
        ...


class CallPool:
    """One run of a pool.

    Args:
        call: what is done with each item.
        concurrency: the most calls at a time.
        errors: what becomes of an item that ``call`` or ``key`` failed on. A call that knows
            better which item is to blame raises `ItemFailed` itself.
        tally: where failures are counted.
        ordered: whether the results keep the order of the items.
        key: items of one key are called one after the other, in their order.
    """

    def __init__(
        self,
        call: Callable[[Any], Awaitable[Any]],
        concurrency: int,
        errors: Errors,
        tally: Tally,
        *,
        ordered: bool = False,
        key: Callable[[Any], Hashable] | None = None,
    ) -> None:
        self._call = call
        self._concurrency = concurrency
        self._errors: Errors = errors
        self._tally = tally
        self._ordered = ordered
        self._key: Callable[[Any], Hashable] | None = None
        if key is not None:
            self._key = first_checked(key, self._use_key, "an ordinary function for a key")
        self._taken: Iterator[Any] = iter(())
        self._line: deque[_Slot] = deque()
        self._lanes: dict[Hashable, deque[_Slot]] = {}
        self._slots: deque[_Slot] = deque()
        self._ready: list[_Slot] = []
        self._outstanding = 0
        self._left_out = 0  # of these
        self._workers = 0
        self._nursery: trio.Nursery | None = None
        self._round_began = perf_counter()
        self._asked: float | None = None
        self._ended = False
        self._is_mismatched = False
        self._idle = _Sleepers()
        self._full = _Sleepers()
        self._nothing_ready = _Sleepers()

    @property
    def held(self) -> int:
        """How many items it has in its hands, or had when it failed, the failing one included."""
        return self._outstanding - self._left_out + length_hint(self._taken)

    async def run(
        self, source: Source, pass_on: Callable[[Chunk], Awaitable[None]] | None = None
    ) -> None:
        """Take items until the stream ends, call, and pass the results on.

        Raises `ItemFailed` (in a group) where a call fails for good. Cancelled, the calls in
        flight are cancelled; their items and those that wait are `held` then.
        """
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._emit, pass_on)
            try:
                while True:
                    self._taken = iter(await source.chunk())
                    await self._admit_all()
            except trio.EndOfChannel:
                self._ended = True
                self._idle.wake_all()
                self._nothing_ready.wake_all()

    def _use_key(self, key: Callable[[Any], Hashable]) -> None:
        self._key = key

    # The reader

    async def _admit_all(self) -> None:
        yielded = perf_counter()
        for item in self._taken:
            self._outstanding += 1
            if self._key is None:
                self._enter(_Slot(item, None))
            else:
                await self._enter_lane(item, self._key)
            if self._outstanding >= 2 * self._concurrency:
                while self._outstanding >= 2 * self._concurrency:
                    await self._full.sleep()
                yielded = perf_counter()
            elif perf_counter() - yielded >= BUDGET:
                await trio.lowlevel.checkpoint()
                yielded = perf_counter()

    def _enter(self, slot: _Slot) -> None:
        if self._ordered:
            self._slots.append(slot)
        self._line.append(slot)
        if not self._idle.wake() and self._workers < self._concurrency:
            self._workers += 1
            self._start_soon(self._work)

    def _start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None, "run() opens it"
        self._nursery.start_soon(task)

    async def _enter_lane(self, item: Any, key_of: Callable[[Any], Hashable]) -> None:
        """Later items wait while a key is asked for again: they may be of the same one."""

        async def lane_of(item: Any) -> tuple[Hashable, deque[_Slot] | None]:
            key = key_of(item)
            return key, self._lanes.get(key)

        try:
            key = key_of(item)
            lane = self._lanes.get(key)
        except Exception as error:  # noqa: BLE001 - the user's function may raise anything
            found = await self._settle(item, error, lane_of)
            if found is LEFT_OUT:
                self._outstanding -= 1
                self._left_out -= 1
                return
            key, lane = found
        slot = _Slot(item, key)
        if lane is None:
            self._lanes[key] = deque()
            self._enter(slot)
        else:
            if self._ordered:
                self._slots.append(slot)
            lane.append(slot)

    # The workers

    async def _work(self) -> None:
        line = self._line
        call = self._call
        while True:
            while not line:
                if self._ended and not self._lanes:
                    return
                await self._idle.sleep()
            if self._is_long_round():
                await trio.lowlevel.checkpoint()
                continue
            slot = line.popleft()
            try:
                slot.value = await call(slot.value)
            except ItemFailed:
                raise
            except Exception as error:  # noqa: BLE001 - the user's function may raise anything
                slot.value = await self._settle(slot.value, self._told(error), call)
            self._finish(slot)

    def _told(self, error: Exception) -> Exception:
        """The error, or a better one for a function whose answer was not to be awaited."""
        traceback = error.__traceback__
        here = traceback is not None and traceback.tb_next is None
        if here and type(error) is TypeError and "await" in str(error):
            name = function_name(self._call)
            return AsyncMismatch(f"{name} is not async; use map, or map_blocking if it waits")
        return error

    def _is_long_round(self) -> bool:
        """Whether this round of the event loop has lasted so long that the rest is for the next.

        In one round every task that can run does, so many workers with calls that never wait could
        keep the others from their turn. A round is known to be over when a task has run that was
        started in it.
        """
        now = perf_counter()
        if self._asked is not None:
            return now - self._asked >= BUDGET
        if now - self._round_began >= BUDGET:
            self._asked = now
            self._start_soon(self._note_new_round)
        return False

    async def _note_new_round(self) -> None:
        self._asked = None
        self._round_began = perf_counter()

    def _finish(self, slot: _Slot) -> None:
        slot.done = True
        if self._key is not None:
            self._leave_lane(slot.key)
        if not self._ordered:
            self._ready.append(slot)
            self._nothing_ready.wake()
        elif slot is self._slots[0]:
            self._nothing_ready.wake()

    def _leave_lane(self, key: Hashable) -> None:
        """Let the next item of the key into the line; this worker, for one, will look there."""
        lane = self._lanes[key]
        if lane:
            self._line.append(lane.popleft())
        else:
            del self._lanes[key]
            if self._ended and not self._lanes:
                self._idle.wake_all()

    async def _settle(
        self, item: Any, error: Exception, again: Callable[[Any], Awaitable[Any]]
    ) -> Any:
        if isinstance(error, AsyncMismatch):
            if self._is_mismatched:  # told once, and not for each call in flight
                await trio.sleep_forever()
            self._is_mismatched = True
        given = await settle(self._errors, item, error, again, self._tally)
        if given is LEFT_OUT:
            self._left_out += 1
        return given

    # The emitter

    async def _emit(self, pass_on: Callable[[Chunk], Awaitable[None]] | None) -> None:
        while True:
            slots = self._take_ready()
            if slots:
                results = [slot.value for slot in slots if slot.value is not LEFT_OUT]
                if results and pass_on is not None:
                    await pass_on(results)
                self._outstanding -= len(slots)
                self._left_out -= len(slots) - len(results)
                self._full.wake()
            elif self._ended and not self._outstanding:
                return
            else:
                await self._nothing_ready.sleep()

    def _take_ready(self) -> list[_Slot]:
        ready: list[_Slot] = []
        if not self._ordered:
            ready, self._ready = self._ready, ready
            return ready
        slots = self._slots
        while slots and slots[0].done:
            ready.append(slots.popleft())
        return ready


class _Slot:
    """An item, then its result."""

    __slots__ = ("done", "key", "value")

    def __init__(self, item: Any, key: Hashable) -> None:
        self.value = item
        self.key = key
        self.done = False


class _Sleepers:
    """Tasks that wait to be woken, in line."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: deque[trio.lowlevel.Task] = deque()

    async def sleep(self) -> None:
        """Wait to be woken; no checkpoint is needed besides."""
        task = trio.lowlevel.current_task()
        self._tasks.append(task)

        def leave(_: object) -> trio.lowlevel.Abort:
            self._tasks.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    def wake(self) -> bool:
        """Wake one; False where none waits."""
        if not self._tasks:
            return False
        trio.lowlevel.reschedule(self._tasks.popleft())
        return True

    def wake_all(self) -> None:
        """Wake all."""
        while self.wake():
            pass
