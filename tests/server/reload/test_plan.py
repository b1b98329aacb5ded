"""What is done about a topic follows from what it was made of, and what it is made of now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock_server.options import TopicOptions
from penstock_server.reload.fingerprints import Fingerprint, Fingerprints
from penstock_server.reload.plan import Action, Side, plan, restart_needed, summary
from penstock_server.settings import Retention


def side(
    pipeline: str = "p",
    *,
    digests: dict[str, str] | None = None,
    reads: frozenset[str] = frozenset(),
    on_processes: bool = False,
    ended: bool = False,
    **options: Any,
) -> Side:
    print_ = Fingerprint(digests or {}, pipeline, reads, on_processes)
    return Side(print_, TopicOptions(**options), ended)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (side(), side(), "kept"),
        (side("p"), side("q"), "restarted"),
        (side(), side(retention=Retention(5)), "changed"),
        (side("p"), side("q", retention=Retention(5)), "restarted"),
        (side(), side(max_lag=5), "changed"),
        (side(), side(idle=5.0), "changed"),
        (side(), side(start="demand"), "restarted"),
        (side(), side(slow="block"), "replaced"),
        (side(), side(encoding="text"), "replaced"),
        (side(), side(key="name"), "replaced"),
        (side(key="name"), side(key="id"), "replaced"),
        (side(accepts=int), side(accepts=str, digests={"accepts": "s"}), "changed"),
        (side(accepts=int), side(), "changed"),
        (side(ended=True), side(), "kept"),
        (side("p", ended=True), side("q"), "replaced"),
        (side(), side(on_processes=True), "restarted"),
        (side(ended=True), side(on_processes=True), "kept"),
    ],
)
def test_the_action_for_one_topic(before: Side, now: Side, expected: Action) -> None:
    assert plan({"t": before}, {"t": now}) == {"t": expected}


def made_anew() -> tuple[type, Callable[[Any], Any]]:
    class Message:
        pass

    return Message, lambda message: message.name


def test_types_and_functions_are_compared_by_what_they_are_made_of() -> None:
    (before, key), (now, new_key) = made_anew(), made_anew()
    digests = {"accepts": "m", "key": "k"}
    running = side(accepts=before, key=key, digests=digests)
    same = side(accepts=now, key=new_key, digests=digests)
    assert plan({"t": running}, {"t": same}) == {"t": "kept"}
    another = side(accepts=now, key=new_key, digests={**digests, "accepts": "n"})
    assert plan({"t": running}, {"t": another}) == {"t": "changed"}
    keyed = side(accepts=now, key=new_key, digests={**digests, "key": "l"})
    assert plan({"t": running}, {"t": keyed}) == {"t": "replaced"}
    unseen = side(accepts=now, digests={"": "x"})
    assert plan({"t": side(accepts=before, digests={"": "y"})}, {"t": unseen}) == {"t": "changed"}


def test_topics_come_and_go() -> None:
    actions = plan({"a": side(), "b": side()}, {"c": side(), "b": side()})
    assert list(actions.items()) == [("c", "added"), ("b", "kept"), ("a", "removed")]


def test_what_reads_a_log_that_is_replaced_is_restarted() -> None:
    derived = side(reads=frozenset({"raw"}))
    further = side(reads=frozenset({"derived"}))
    running = {"raw": side(), "derived": derived, "further": further, "other": side()}
    now = {**running, "raw": side(encoding="text")}
    assert plan(running, now) == {
        "raw": "replaced",
        "derived": "restarted",
        "further": "kept",
        "other": "kept",
    }


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ({"cpu": "restarted", "notes": "kept"}, "cpu restarted, notes unchanged (1 topic kept)"),
        ({"a": "kept", "b": "kept"}, "a, b unchanged (2 topics kept)"),
        ({"a": "added", "b": "restarted", "c": "restarted"},
         "b, c restarted, a added (0 topics kept)"),
        ({"a": "removed", "b": "changed"}, "b changed, a removed (1 topic kept)"),
        ({"a": "replaced", **dict.fromkeys("bcde", "kept")}, "a replaced (4 topics kept)"),
        (dict.fromkeys("abcd", "kept"), "nothing changed (4 topics kept)"),
        ({}, "nothing changed (0 topics kept)"),
    ],
)  # fmt: skip
def test_the_summary(actions: dict[str, Action], said: str) -> None:
    assert summary(actions) == said


def test_each_change_that_needs_a_restart_is_told_once() -> None:
    def prints(**server: str) -> Fingerprints:
        return Fingerprints({}, server)

    running = prints(cors="1", limits="1", lifespan="1")
    changed = prints(cors="2", limits="1")
    assert restart_needed(running, running, changed) == ["cors", "lifespan"]
    assert restart_needed(running, changed, changed) == []
    assert restart_needed(running, changed, running) == []  # taken back
    assert restart_needed(running, changed, prints(cors="3", limits="1")) == ["cors"]
