"""A wake-up that can't be lost: the one primitive by which readers wait for events."""

from __future__ import annotations

import trio


class Wake:
    """Level-triggered: a `set` before the `wait` ends that wait at once. One waiting task.

    Smaller and cheaper than an event per wait, of which a server would make one for every reader
    and event.
    """

    __slots__ = ("_set", "_task")

    def __init__(self) -> None:
        self._set = False
        self._task: trio.lowlevel.Task | None = None

    def set(self) -> None:
        """Wake the waiting task, or let the next `wait` pass; doing it twice is doing it once."""
        self._set = True
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Wait until it is set, and reset it. Always a checkpoint. Cancelled, it stays as it is."""
        if self._set:
            await trio.lowlevel.checkpoint()
        while not self._set:
            assert self._task is None, "a Wake has one waiting task"
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._set = False

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
