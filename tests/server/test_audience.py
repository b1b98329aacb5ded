"""Subscribers are counted, and changes are told."""

from penstock_server.audience import Audience


def test_who_enters_counts_until_they_leave_once() -> None:
    audience = Audience()
    seen: list[int] = []
    unwatch = audience.watch(lambda: seen.append(len(audience)))
    first, second = audience.enter(), audience.enter()
    first()
    first()
    assert len(audience) == 1
    second()
    unwatch()
    audience.enter()
    assert seen == [1, 2, 1, 0]
    assert len(audience) == 1


def test_a_watcher_may_stop_watching_while_it_is_told() -> None:
    audience = Audience()
    seen: list[str] = []

    def once() -> None:
        seen.append("once")
        unwatch()

    unwatch = audience.watch(once)
    audience.watch(lambda: seen.append("always"))
    audience.enter()
    audience.enter()
    assert seen == ["once", "always", "always"]
