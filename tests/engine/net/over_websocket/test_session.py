"""What a WebSocket reader decides: subscriptions, positions, gaps, losses and refusals. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import Backoff
from penstock.net import ConnectionLost, Event, Gap, Refused, SubscriptionRefused
from penstock.net.over_websocket.frames import ErrorSaid, ServerSays
from penstock.net.over_websocket.session import Session
from penstock.net.over_websocket.silence import Silence
from penstock.wire import (
    BadCursor,
    ConnectionLimits,
    End,
    Hello,
    Reconnect,
    SlowPolicy,
    Subscribe,
    Subscribed,
    Unsubscribed,
)

BACKOFF = Backoff(initial=1, maximum=8, jitter=False)
HELLO = Hello("s", 20, ConnectionLimits(1 << 20, 3))


def session(
    *,
    slow: SlowPolicy | None = None,
    conflated: bool = False,
    backoff: Backoff = BACKOFF,
    **starts: str,
) -> Session:
    made = Session(starts or {"cpu": "latest"}, slow, backoff, conflated=conflated)
    made.begin(HELLO)
    return made


def event(offset: int, topic: str = "cpu", epoch: str = "e") -> Event:
    return Event(topic, f"{epoch}-{offset}", offset)


def take(session: Session, *messages: ServerSays) -> list[Event | Gap]:
    return session.take(messages, 0.0, 1.0)


def asked(session: Session, now: float = 0.0) -> Sequence[tuple[str, str]]:
    return [(each.topic, each.after) for each in session.subscriptions(now)]


# Subscriptions


def test_asks_for_each_topic_once_a_connection_from_where_it_is() -> None:
    it = session(cpu="latest", news="earliest", old="e-5")
    assert it.subscriptions(0.0) == [
        Subscribe("cpu", "latest", None, 0),
        Subscribe("news", "earliest", None, 1),
        Subscribe("old", "e-5", None, 2),
    ]
    assert asked(it) == []
    take(it, Subscribed("cpu", "e-7"), event(3, "news"), Subscribed("old", "e-5"))
    it.begin(HELLO)
    assert asked(it) == [("cpu", "e-7"), ("news", "e-3"), ("old", "e-5")]


def test_ended_topics_are_not_asked_for_again() -> None:
    it = session(cpu="latest", news="latest")
    take(it, End("cpu", "e-9"))
    assert not it.done
    it.begin(HELLO)
    assert asked(it) == [("news", "latest")]
    assert take(it, event(10), End("cpu", "e-9")) == []
    take(it, End("news", "e-1"))
    assert it.done


def test_more_topics_than_a_connection_may_read_is_refused() -> None:
    it = session(a="latest", b="latest", c="latest", d="latest")
    assert isinstance(it.fault, Refused)
    assert "max_subscriptions" in str(it.fault)


def test_the_policy_goes_with_the_subscription() -> None:
    assert session(slow="block").subscriptions(0.0)[0].slow == "block"


def test_a_bad_start_is_no_session() -> None:
    with pytest.raises(BadCursor):
        session(cpu="soon")


# Events and gaps


def test_events_come_once_and_in_order() -> None:
    it = session()
    first = take(it, Subscribed("cpu", "e-0"), event(1), event(2), event(2), event(1), event(3))
    assert first == [event(1), event(2), event(3)]
    it.begin(HELLO)
    assert take(it, Subscribed("cpu", "e-3"), event(3), event(4)) == [event(4)]


def test_offsets_are_read_in_base_36() -> None:
    it = session()
    ids = ["e-y", "e-z", "e-10", "e-11"]
    assert len(take(it, Subscribed("cpu", "e-x"), *(Event("cpu", each, 0) for each in ids))) == 4


def test_each_topic_has_a_position_of_its_own() -> None:
    it = session(cpu="e-4", news="f-1")
    events = [event(5), event(2, "news", "f"), event(6), event(5), event(3, "news", "f")]
    assert take(it, *events) == [*events[:3], events[4]]


def test_a_topic_that_nobody_asked_for_is_passed_over() -> None:
    it = session()
    gap = Gap("other", "e-1", "e-2", 1, "slow")
    assert take(it, event(1, "other"), gap, Subscribed("other", "x"), End("other", "x")) == []
    assert it.fault is None


def test_a_gap_moves_the_position() -> None:
    it = session(cpu="e-3")
    gap = Gap("cpu", "e-3", "e-8", 5, "expired")
    assert take(it, gap, event(9)) == [gap, event(9)]
    take(it, Gap("cpu", "e-9", "f-0", None, "epoch"))
    it.begin(HELLO)
    assert asked(it) == [("cpu", "f-0")]


def test_a_gap_that_goes_back_is_a_fault() -> None:
    it = session(cpu="e-3")
    assert take(it, Gap("cpu", "e-3", "e-2", 5, "expired"), event(4)) == []
    assert isinstance(it.fault, ConnectionLost)


def test_a_hole_without_a_gap_becomes_one() -> None:
    it = session(cpu="e-3")
    assert take(it, event(4), event(7), event(8)) == [
        event(4),
        Gap("cpu", "e-4", "e-6", 2, "expired"),
        event(7),
        event(8),
    ]


@pytest.mark.parametrize("options", [{"slow": "conflate"}, {"conflated": True}])
def test_a_hole_is_none_where_conflating_is_agreed(options: dict[str, object]) -> None:
    it = session(cpu="e-3", **options)  # type: ignore[arg-type] # of two kinds
    assert take(it, event(4), event(7)) == [event(4), event(7)]


def test_a_new_epoch_without_a_gap_becomes_one() -> None:
    it = session(conflated=True, cpu="e-3")
    events = take(it, event(2, epoch="f"), event(3, epoch="f"))
    assert events == [
        Gap("cpu", "e-3", "f-1", None, "epoch"),
        event(2, epoch="f"),
        event(3, epoch="f"),
    ]


@pytest.mark.parametrize("bad", ["", "e", "e-", "-1", "e--1", "e-0", "E-1", "e-+5", "e-1 "])
def test_a_bad_cursor_is_a_fault_and_what_came_before_is_sound(bad: str) -> None:
    it = session()
    assert take(it, event(1), Event("cpu", bad if bad != "e-0" else "f-0", 0), event(2)) == [
        event(1)
    ]
    assert isinstance(it.fault, ConnectionLost)
    it.begin(HELLO)
    assert asked(it) == [("cpu", "e-1")]


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(0, 40))
def test_whatever_comes_offsets_rise_and_holes_are_told(offsets: list[int], start: int) -> None:
    it = session(cpu=f"e-{start}" if start < 10 else "e-a")
    at = start if start < 10 else 10
    items = take(it, *(Event("cpu", f"e-{_base36(each)}", each) for each in offsets))
    for item in items:
        if isinstance(item, Gap):
            assert item.missed is not None
            at += item.missed
        else:
            assert item.data == at + 1
            at += 1


def _base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return digits[number] if number < 36 else digits[number // 36] + digits[number % 36]


# Losses


def lost(session: Session, after: float = 0.0, chance: float = 1.0) -> float:
    return session.lost(ConnectionLost("cut", after), chance).delay


def test_waits_grow_until_an_event_comes() -> None:
    it = session()
    assert [lost(it) for _ in range(5)] == [1, 2, 4, 8, 8]
    it.begin(HELLO)
    take(it, Subscribed("cpu", "e-0"))
    assert lost(it) == 8  # a server that falls over each time it has accepted
    take(it, event(1))
    assert lost(it) == 1
    it.is_alive()
    assert lost(it) == 1


def test_the_server_may_ask_for_a_longer_wait_within_reason() -> None:
    it = session(backoff=Backoff(initial=1, maximum=8))
    assert lost(it, 5, chance=0.5) == 5.5  # jitter on top, so that they don't all come at once
    assert lost(it, math.inf, chance=0) == 3600
    assert lost(it, math.nan, chance=0) == 0
    assert lost(it, -1, chance=0) == 0


def test_reconnect_is_a_loss_with_its_wait() -> None:
    it = session()
    assert take(it, event(1), Reconnect(2.5), event(2)) == [event(1)]
    assert isinstance(it.fault, ConnectionLost)
    assert it.fault.retry_after == 2.5


def test_a_loss_names_the_cursor_of_a_single_topic() -> None:
    assert session(cpu="e-4").lost(ConnectionLost("cut"), 0).cursor == "e-4"
    assert session().lost(ConnectionLost("cut"), 0).cursor is None
    assert session(a="e-4", b="e-4").lost(ConnectionLost("cut"), 0).cursor is None


def test_a_topic_taken_away_is_asked_for_again() -> None:
    it = session()
    take(it, Unsubscribed("cpu"))
    assert isinstance(it.fault, ConnectionLost)


# Refusals


@pytest.mark.parametrize(
    "code", ["unknown_topic", "forbidden", "bad_cursor", "invalid", "code_of_tomorrow"]
)
def test_a_refusal_names_the_topic_and_the_code(code: str) -> None:
    it = session(cpu="latest", news="latest")
    it.subscriptions(0.0)
    assert take(it, event(1), ErrorSaid(code, "no!", 1)) == [event(1)]
    fault = it.fault
    assert isinstance(fault, SubscriptionRefused)
    assert (fault.topic, fault.code) == ("news", code)
    assert str(fault) == f"topic news: no! ({code})"


def test_a_refusal_without_a_topic_is_final_too() -> None:
    it = session()
    take(it, ErrorSaid("bad_message", "what?"))
    assert isinstance(it.fault, Refused)


@pytest.mark.parametrize("code", ["limit", "unavailable", "rate_limited"])
def test_what_may_pass_is_asked_again_later_and_told(code: str) -> None:
    it = session(cpu="latest", news="e-3")
    it.subscriptions(0.0)
    it.take([ErrorSaid(code, "full", 1)], 100.0, 1.0)
    assert it.fault is None
    (told,) = it.refusals()
    assert (told.attempt, told.delay, told.cursor) == (1, 1, "e-3")
    assert told.problem == f"topic news: full ({code})"
    assert it.refusals() == []
    assert asked(it, 100.5) == []
    assert it.next_due() == 101
    assert asked(it, 101) == [("news", "e-3")]
    assert it.next_due() == math.inf
    it.take([ErrorSaid(code, "full", None, "news")], 200.0, 1.0)
    assert it.next_due() == 202  # twice the wait
    it.begin(HELLO)
    assert asked(it) == [("cpu", "latest"), ("news", "e-3")]  # a new connection, a new chance


# Silence


def test_silence_is_asked_about_and_then_is_death() -> None:
    silence = Silence(20)
    assert silence.verdict(0) == ("well", 30)
    assert silence.verdict(29) == ("well", 1)
    assert silence.verdict(30) == ("ask", 20)
    assert silence.verdict(50) == ("dead", 0)


@pytest.mark.parametrize("heartbeat", [0.0, -5.0, 1e-9, 1e9, math.inf, math.nan, -math.inf])
def test_no_heartbeat_makes_a_client_ask_all_the_time_or_never(heartbeat: float) -> None:
    silence = Silence(heartbeat)
    assert 0.5 < silence.ask_after < silence.dead_after <= 150
