"""Settings: the defaults are those of the protocol, and nonsense is refused by name."""

import dataclasses
from typing import Any

import pytest

from penstock import PenstockError
from penstock_server import Limits, Timing
from penstock_server.settings import MIB, Retention


def test_the_defaults() -> None:
    assert Limits() == Limits(max_message_bytes=MIB, max_subscriptions=128, body_timeout=30)
    assert Timing().keepalive == 15
    assert Timing().stall_timeout == 30
    assert Retention() == Retention(events=1000, bytes=16 * MIB, seconds=None)


@pytest.mark.parametrize("settings", [Limits(), Timing(), Retention()], ids=repr)
def test_they_are_frozen(settings: Any) -> None:
    field = dataclasses.fields(settings)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, field, 1)


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        (Limits, "max_message_bytes", 0),
        (Limits, "max_message_bytes", 1.5),
        (Limits, "max_subscriptions", -1),
        (Limits, "max_subscriptions", True),
        (Limits, "body_timeout", 0),
        (Timing, "keepalive", 0),
        (Timing, "keepalive", "15"),
        (Timing, "heartbeat", -1),
        (Timing, "stall_timeout", float("nan")),
        (Timing, "retry", -0.1),
        (Timing, "reconnect_spread", float("nan")),
        (Timing, "grace", -1),
    ],
)
def test_nonsense_is_refused_by_name(kind: Any, option: str, value: Any) -> None:
    with pytest.raises(PenstockError, match=f"{kind.__name__}: {option} must be .*, got "):
        kind(**{option: value})


@pytest.mark.parametrize("option", ["retry", "reconnect_spread", "grace"])
def test_some_waits_may_be_none_at_all(option: str) -> None:
    kept: float = getattr(Timing(**{option: 0}), option)
    assert kept == 0
