from __future__ import annotations

from math import nextafter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.transforms.windows.grid import FINEST, Grid, common_grid


@pytest.mark.parametrize(
    ("size", "step", "width", "span", "stride"),
    [
        (60, 60, 60.0, 1, 1),
        (60, 10, 10.0, 6, 1),
        (60, 25, 5.0, 12, 5),
        (1, 0.25, 0.25, 4, 1),
        (0.3, 0.1, 0.1, 3, 1),
        (2.5, 1, 0.5, 5, 2),
    ],
)
def test_panes_are_the_widest_that_make_up_both(
    size: float, step: float, width: float, span: int, stride: int
) -> None:
    grid = common_grid(size, step)
    assert grid is not None
    assert (grid.width, grid.span, grid.stride) == (width, span, stride)


def test_windows_of_too_many_panes_have_no_grid() -> None:
    assert common_grid(10, 0.001) is not None
    assert common_grid(10, 0.0009) is None


@pytest.mark.parametrize("width", [1.0, 60.0, 0.5, 0.1, 0.3, 1 / 3, 86400.0])
@pytest.mark.parametrize("around", [0.0, 1.0, -1.0, 1.7e9, -3.3e8])
def test_a_pane_holds_its_times_and_the_next_one_begins_at_its_end(
    width: float, around: float
) -> None:
    grid = Grid(width, 1, 1)
    first = grid.pane(around)
    for n in range(200):
        start, end = grid.times(first + n)
        assert start < end
        assert grid.pane(start) == first + n
        assert grid.pane(end) == first + n + 1
    assert grid.panes([around, around + width]) == [first, grid.pane(around + width)]


@pytest.mark.parametrize(("span", "stride"), [(1, 1), (6, 1), (12, 5), (5, 2)])
def test_the_windows_of_a_pane(span: int, stride: int) -> None:
    grid = Grid(1.0, span, stride)
    for pane in range(-30, 30):
        first, last = grid.first_window(pane), grid.last_window(pane)
        assert first <= last
        for window in range(int(first) - 2, int(last) + 3):
            holds = window * stride <= pane < grid.end_pane(window)
            assert holds == (first <= window <= last)


def test_times_are_never_minus_zero() -> None:
    assert [str(at) for at in Grid(10.0, 1, 1).times(-0.0)] == ["0.0", "10.0"]


@settings(max_examples=300)
@given(
    st.floats(1e-9, 1e9) | st.integers(1, 10**6).map(lambda n: n / 1000),
    st.floats(-1, 1, exclude_min=True, exclude_max=True),
)
@example(9.0, 0.9056004442516262)
def test_a_pane_holds_its_times_as_far_out_as_they_are_taken(width: float, share: float) -> None:
    grid = Grid(width, 1, 1)
    limit = width * FINEST
    for time in (share * limit, nextafter(limit, 0), -nextafter(limit, 0)):
        number = grid.pane(time)
        start, end = grid.times(number)
        assert start <= time < end
        assert number - 1 < number < number + 1
        assert grid.panes([time]) == [number]
