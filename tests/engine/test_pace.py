from __future__ import annotations

from penstock._pace import FEW, Pace


def test_starts_with_one_item_and_doubles_while_pieces_are_quick() -> None:
    pace = Pace(budget=0.001, most=1024)
    sizes = []
    for _ in range(12):
        sizes.append(pace.size)
        pace.record(pace.size, 0.0001)
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024]


def test_a_slow_piece_shrinks_the_next_in_proportion() -> None:
    pace = Pace(budget=0.001, most=1024)
    for _ in range(10):
        pace.record(pace.size, 0.0)
    pace.record(1024, 0.004)
    assert pace.size == 256


def test_never_below_one_item() -> None:
    pace = Pace()
    pace.record(1, 60.0)
    assert pace.size == 1


def test_a_piece_near_the_budget_keeps_the_size() -> None:
    pace = Pace(budget=0.001)
    pace.record(1, 0.0)
    pace.record(2, 0.0007)
    assert pace.size == 2


def test_a_piece_of_fewer_items_than_asked_says_nothing_about_more() -> None:
    pace = Pace(budget=0.001)
    for _ in range(4):
        pace.record(pace.size, 0.0)
    pace.record(3, 0.0001)
    assert pace.size == 16


def grown(size: int) -> Pace:
    pace = Pace()
    while pace.size < size:
        pace.record(pace.size, 0.0)
    return pace


def test_a_piece_that_woke_the_collector_halves_the_next() -> None:
    pace = grown(1024)
    sizes = []
    for _ in range(6):
        pace.record(pace.size, 0.0, 1.0)
        sizes.append(pace.size)
    assert sizes == [512, 256, 128, 64, FEW, FEW]


def test_few_items_are_not_made_fewer_or_more_by_the_collector() -> None:
    pace = grown(8)
    pace.record(8, 0.0, 1.0)
    assert pace.size == 8


def test_it_grows_only_where_twice_as_many_objects_leave_room() -> None:
    pace = grown(64)
    pace.record(64, 0.0, 0.3)
    assert pace.size == 64
    pace.record(64, 0.0, 0.2)
    assert pace.size == 128
