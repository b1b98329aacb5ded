"""Each stream of a rebuilt pipeline finds the position of its predecessor."""

import pytest
import trio.testing

import penstock as ps
from penstock_server import Server
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


async def test_reading_up_ends_a_stream_behind_what_was_there() -> None:
    server = Server()
    topic = server.topic("a", accepts=int)
    bookmarks = Bookmarks()
    with bookmarks.held_out():
        stream = topic.values()
    assert set(bookmarks.topics) == {"a"}
    await bookmarks.read_up()  # nobody reads yet
    async with stream.to(ps.collect()).open() as run:
        await trio.testing.wait_all_tasks_blocked()
        for n in range(5):
            topic.log.append([topic.encoded(n)])
        await bookmarks.read_up()
        topic.log.append([topic.encoded(5)])
        assert await run.result() == [0, 1, 2, 3, 4]
    assert len(topic.audience) == 0


def test_a_new_bookmark_belongs_to_no_log_yet() -> None:
    assert Bookmarks().next_for("a").epoch is None
