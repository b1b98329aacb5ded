"""What was revoked is refused for as long as it has to be."""

from __future__ import annotations

import pytest

from penstock import PenstockError
from penstock_server.auth import Revocations
from penstock_server.grants import UNRESTRICTED, Grant


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_token() -> None:
    revocations = Revocations()
    revocations.revoke(token_id="1")
    assert revocations.refuses(Grant("ann", token_id="1"))
    assert not revocations.refuses(Grant("ann", token_id="2"))
    assert not revocations.refuses(Grant("1"))
    assert not revocations.refuses(UNRESTRICTED)


def test_a_subjects_tokens_that_have_been_issued_until_now() -> None:
    clock = Clock()
    revocations = Revocations(clock=clock)
    revocations.revoke(subject="ann")
    assert revocations.refuses(Grant("ann"))
    assert revocations.refuses(Grant("ann", issued=1000))
    assert not revocations.refuses(Grant("ann", issued=1001))
    assert not revocations.refuses(Grant("bob"))
    clock.now = 2000
    revocations.revoke(subject="ann")
    assert revocations.refuses(Grant("ann", issued=1001))


def test_entries_are_dropped_once_the_tokens_have_expired() -> None:
    clock = Clock()
    revocations = Revocations(limit=2, clock=clock)
    revocations.revoke(token_id="1", until=1010)
    revocations.revoke(subject="ann", until=1020)
    with pytest.raises(PenstockError, match="all 2 entries are still needed"):
        revocations.revoke(token_id="2")
    clock.now = 1010
    assert not revocations.refuses(Grant(token_id="1"))
    revocations.revoke(token_id="2")
    assert len(revocations) == 2
    assert revocations.refuses(Grant(token_id="2"))
    assert revocations.refuses(Grant("ann"))
    clock.now = 1020
    assert not revocations.refuses(Grant("ann"))


@pytest.mark.parametrize("what", [{}, {"subject": "a", "token_id": "b"}, {"subject": ""}])
def test_it_must_be_one_or_the_other(what: dict[str, str]) -> None:
    with pytest.raises(PenstockError, match="either a subject or a token_id"):
        Revocations().revoke(subject=what.get("subject", ""), token_id=what.get("token_id", ""))


def test_watchers_are_told_until_they_leave() -> None:
    revocations, told = Revocations(), []
    leave = revocations.watch(lambda: told.append(len(revocations)))
    revocations.revoke(subject="ann")
    leave()
    revocations.revoke(subject="bob")
    assert told == [1]
