"""Which run answers a chat, and that the table of them stays small."""

from __future__ import annotations

from typing import Any

from penstock_server.compat import Answering, Chats


class Run:
    """As much of a run as the table looks at."""

    status = "running"


def test_a_chat_is_answered_while_its_run_runs() -> None:
    runs: dict[str, Any] = {"r1": Run(), "r2": Run()}
    chats = Chats(lambda job, run: runs.get(run))
    chats.begin("me", "c", Answering("m", "r1", "msg-1"))
    assert chats.running("me", "c") == (runs["r1"], Answering("m", "r1", "msg-1"))
    assert chats.running("you", "c") is None
    chats.begin("me", "c", Answering("m", "r2", "msg-2"))
    assert chats.running("me", "c") == (runs["r2"], Answering("m", "r2", "msg-2"))
    runs["r2"].status = "done"
    assert chats.running("me", "c") is None
    assert len(chats) == 0


def test_the_table_is_freed_with_the_runs() -> None:
    runs: dict[str, Any] = {}
    chats = Chats(lambda job, run: runs.get(run))
    for number in range(100):
        runs[f"r{number}"] = Run()
        chats.begin("me", f"c{number}", Answering("m", f"r{number}", "msg"))
    assert len(chats) == 100  # all of them run
    runs.clear()
    for number in range(1000):
        chats.begin("me", f"d{number}", Answering("m", "forgotten", "msg"))
    assert len(chats) <= 300
