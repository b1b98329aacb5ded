"""Rights as data: what they grant, and what is refused."""

from __future__ import annotations

from fnmatch import fnmatchcase
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_server.auth.rights import BadRights, parse_entry, parse_rights
from penstock_server.grants import UNRESTRICTED, Grant

names = st.text("ab.*?[]!-", max_size=6)


@given(names, st.text("ab.", max_size=6))
def test_patterns_are_the_shells(pattern: str, name: str) -> None:
    grant = Grant(subscribe=(pattern,), publish=("nothing", pattern), jobs=(pattern,))
    expected = fnmatchcase(name, pattern)
    assert grant.may_subscribe(name) == expected
    assert grant.may_publish(name) == (expected or name == "nothing")
    assert grant.may_run(name) == expected


def test_no_patterns_are_no_rights() -> None:
    assert not Grant().may_subscribe("a")
    assert not Grant().may_subscribe("")
    assert UNRESTRICTED.may_publish("room.1")


@pytest.mark.parametrize(
    ("value", "grant"),
    [
        (None, Grant()),
        ({}, Grant()),
        ({"subscribe": ["a", "b.*"]}, Grant(subscribe=("a", "b.*"))),
        ({"operate": True, "jobs": ["j"], "new": 1}, Grant(jobs=("j",), operate=True)),
        ({"publish": None, "subscribe": []}, Grant()),
    ],
)
def test_what_it_grants(value: Any, grant: Grant) -> None:
    assert parse_rights(value, "it") == grant


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([], "it must be a map"),
        ("*", "it must be a map"),
        ({"subscribe": "*"}, "it.subscribe must be a list"),
        ({"publish": [1]}, "it.publish must hold texts"),
        ({"publish": [""]}, "it.publish must hold texts of 1 to 256"),
        ({"jobs": ["x" * 257]}, "it.jobs must hold texts of 1 to 256"),
        ({"jobs": ["x"] * 1001}, "it.jobs must be at most 1000"),
        ({"operate": 1}, "it.operate must be true or false"),
        ({"operate": "yes"}, "it.operate must be true or false"),
    ],
)
def test_what_makes_no_sense(value: Any, problem: str) -> None:
    with pytest.raises(BadRights, match=problem):
        parse_rights(value, "it")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["subscribe", "publish", "jobs", "operate"]), inner)
    ),
    max_leaves=8,
)


@given(json_values)
def test_any_value_gives_a_grant_or_is_refused(value: Any) -> None:
    try:
        grant = parse_rights(value, "it")
    except BadRights:
        return
    assert isinstance(grant.operate, bool)
    assert all(isinstance(each, str) for each in grant.subscribe + grant.publish + grant.jobs)


def test_an_entry_of_a_configuration_says_whose_it_is() -> None:
    entry = {"subject": "ann", "token_id": "k", "expires": 5, "publish": ["a"]}
    assert parse_entry(entry, "it") == Grant("ann", publish=("a",), token_id="k", expires=5)
    assert parse_entry({}, "it").expires == inf
    assert parse_entry(UNRESTRICTED, "it") is UNRESTRICTED


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"subcribe": ["a"]}, "it: there is no field 'subcribe'"),
        ({"subject": 1}, "it.subject must be text"),
        ({"expires": "soon"}, "it.expires must be a number"),
        ({"expires": float("nan")}, "it.expires must be a number"),
        (7, "it must be a map"),
    ],
)
def test_slips_of_the_pen_in_an_entry(entry: Any, problem: str) -> None:
    with pytest.raises(BadRights, match=problem):
        parse_entry(entry, "it")
