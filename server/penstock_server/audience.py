"""Who reads a topic right now, as a number that others can follow."""

from __future__ import annotations

from collections.abc import Callable


class Audience:
    """The subscribers of one topic, counted: connections, and streams over it in pipelines."""

    __slots__ = ("_next", "_present", "_watchers")

    def __init__(self) -> None:
        self._present = 0
        self._watchers: dict[int, Callable[[], None]] = {}
        self._next = 0

    def __len__(self) -> int:
        return self._present

    def enter(self) -> Callable[[], None]:
        """Count one subscriber in; gives the function that counts it out, once."""
        self.join()
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self.leave()

        return leave

    def join(self) -> None:
        """Count one subscriber in."""
        self._change(+1)

    def leave(self) -> None:
        """Count one subscriber out that was counted in with `join`."""
        self._change(-1)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback`, which must not block, after each change; gives what stops that."""
        number = self._next
        self._next += 1
        self._watchers[number] = callback

        def unwatch() -> None:
            self._watchers.pop(number, None)

        return unwatch

    def _change(self, by: int) -> None:
        self._present += by
        for callback in list(self._watchers.values()):
            callback()
