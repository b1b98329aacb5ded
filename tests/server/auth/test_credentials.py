"""Where a token is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_server.auth.credentials import (
    MAX_TOKEN,
    Credentials,
    MalformedCredentials,
    find_credentials,
)

Headers = list[tuple[bytes, bytes]]


def find(headers: Headers, query: bytes = b"", *, query_token: bool = True) -> tuple[str, str]:
    found = find_credentials(headers, query, query_token=query_token)
    return ("", "") if found is None else (found.source, found.token)


@pytest.mark.parametrize(
    ("headers", "query", "found"),
    [
        ([], b"", ("", "")),
        ([(b"authorization", b"Bearer abc")], b"", ("header", "abc")),
        ([(b"Authorization", b"bearer   abc ")], b"", ("header", "abc")),
        ([(b"cookie", b"a=b; penstock_token=abc; c=d")], b"", ("cookie", "abc")),
        ([(b"cookie", b'penstock_token="abc"')], b"", ("cookie", "abc")),
        ([(b"cookie", b"a=b"), (b"cookie", b"penstock_token=abc")], b"", ("cookie", "abc")),
        ([(b"cookie", b"penstock_token=abc=="), (b"x", b"y")], b"", ("cookie", "abc==")),
        ([], b"after=1&token=a%2Bc", ("query", "a+c")),
        (
            [(b"authorization", b"Bearer a"), (b"cookie", b"penstock_token=b")],
            b"token=c",
            ("header", "a"),
        ),
        ([(b"cookie", b"penstock_token=b")], b"token=c", ("cookie", "b")),
        # A proxy's password, and what is left of a logout, are no tokens of ours.
        (
            [(b"authorization", b"Basic abc"), (b"cookie", b"penstock_token=b")],
            b"",
            ("cookie", "b"),
        ),
        ([(b"cookie", b"penstock_token="), (b"cookie", b"xpenstock_token=b")], b"", ("", "")),
        ([(b"cookie", b"penstock_token=a; penstock_token=a")], b"", ("cookie", "a")),
        ([], b"token=", ("", "")),
    ],
)
def test_where_it_is_found(headers: Headers, query: bytes, found: tuple[str, str]) -> None:
    assert find(headers, query) == found


def test_the_query_counts_only_where_it_may() -> None:
    assert find([], b"token=abc", query_token=False) == ("", "")


@pytest.mark.parametrize(
    ("headers", "query", "problem"),
    [
        ([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], b"", "more than one"),
        ([(b"authorization", b"Bearer")], b"", "empty"),
        ([(b"authorization", b"Bearer a b")], b"", "characters"),
        ([(b"authorization", "Bearer é".encode())], b"", "characters"),
        ([(b"cookie", b"penstock_token=a; penstock_token=b")], b"", "more than one cookie"),
        ([], b"token=a&token=b", "more than one"),
        ([], b"token=a%00b", "characters"),
        ([(b"authorization", b"Bearer " + b"x" * (MAX_TOKEN + 1))], b"", "longer than"),
    ],
)
def test_what_can_not_be_taken(headers: Headers, query: bytes, problem: str) -> None:
    with pytest.raises(MalformedCredentials, match=problem):
        find(headers, query)


def test_a_token_is_not_in_the_repr() -> None:
    assert "secret" not in repr(Credentials("secret", "header"))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"authorization", b"cookie"]),
            st.sampled_from([b"", b"Bearer ", b"penstock_token="]).flatmap(
                lambda start: st.binary(max_size=12).map(lambda rest: start + rest)
            ),
        ),
        max_size=3,
    ),
    st.binary(max_size=12).map(lambda rest: b"token=" + rest) | st.binary(max_size=12),
)
def test_any_request_has_a_token_or_none_or_is_refused(headers: Headers, query: bytes) -> None:
    try:
        found = find_credentials(headers, query, query_token=True)
    except MalformedCredentials:
        return
    if found is not None:
        assert found.token.isascii()
        assert found.token.isprintable()
        assert 1 <= len(found.token) <= MAX_TOKEN
