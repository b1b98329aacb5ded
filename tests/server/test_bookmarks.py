"""Each stream of a rebuilt pipeline finds the position of its predecessor."""

import pytest

from penstock_server.bookmarks import Bookmarks, current_bookmarks


def test_the_nth_stream_over_a_topic_finds_the_nth_bookmark() -> None:
    bookmarks = Bookmarks()
    with bookmarks.held_out():
        first, other, second = (bookmarks.next_for(topic) for topic in ("a", "b", "a"))
    assert len({id(first), id(other), id(second)}) == 3
    first.after = 7
    with bookmarks.held_out():
        assert bookmarks.next_for("a") is first
        assert bookmarks.next_for("a") is second
        assert bookmarks.next_for("b") is other


def test_they_are_held_out_while_the_pipeline_is_built_and_no_longer() -> None:
    bookmarks = Bookmarks()
    with pytest.raises(ZeroDivisionError), bookmarks.held_out():
        assert current_bookmarks.get() is bookmarks
        _ = 1 / 0
    assert current_bookmarks.get() is None


def test_a_new_bookmark_belongs_to_no_log_yet() -> None:
    assert Bookmarks().next_for("a").epoch is None
