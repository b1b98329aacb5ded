import pytest

from penstock.wire.close_codes import CloseCode, may_reconnect


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 1013, 3008])
def test_an_accident_is_answered_by_connecting_again(code: int) -> None:
    assert may_reconnect(code)


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1008, 1009, 4401])
def test_what_would_go_wrong_again_is_not_tried_again(code: int) -> None:
    assert not may_reconnect(code)


@pytest.mark.parametrize("code", [1005, 1015, 3000, 4000, 4999])
def test_an_unknown_code_counts_as_an_accident(code: int) -> None:
    assert may_reconnect(code)


def test_the_codes_are_those_of_the_contract() -> None:
    assert {code.name: code.value for code in CloseCode} == {
        "GOING_AWAY": 1001,
        "WRONG_FRAME_KIND": 1003,
        "UNDECODABLE": 1007,
        "POLICY": 1008,
        "TOO_BIG": 1009,
        "INTERNAL_ERROR": 1011,
        "RESTART": 1012,
        "OVERLOAD": 1013,
        "TOO_SLOW": 3008,
        "TOKEN_EXPIRED": 4401,
    }
