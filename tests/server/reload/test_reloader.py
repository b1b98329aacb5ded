"""A server in memory follows its config file: logs, readers and templates, step by step."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock as Clock

from penstock.config import Target, load
from penstock_server import Server
from penstock_server.reload import Reloader

_NUMBERS = count()
HEAD = "import penstock as ps\nfrom penstock_server import Server, Timing\nserver = Server()\n"


class Bench:
    """A config file and its running server."""

    def __init__(self, folder: Path) -> None:
        # A name of its own for each test: modules of one name get into each other's way.
        self.path = folder / f"reloaded_{next(_NUMBERS)}.py"
        self.folder = folder
        self.said: list[str] = []
        self.server: Server

    def write(self, text: str) -> None:
        self.path.write_text(HEAD + dedent(text))

    def edit(self, old: str, new: str) -> None:
        text = self.path.read_text()
        assert old in text
        self.path.write_text(text.replace(old, new))

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        config = load(self.path)
        self.server = config.find(Server)
        reloader = Reloader(Target(str(self.path)), config, self.server, self.said.append)
        async with self.server.resources.open(), trio.open_nursery() as nursery:
            await nursery.start(self.server.hub.run)
            nursery.start_soon(reloader.run)
            await trio.sleep(0.1)
            yield
            self.server.hub.begin_drain()
            await self.server.hub.drained()
            nursery.cancel_scope.cancel()

    async def settle(self, said: str) -> None:
        """Let it reload, which says that line, without what it always says."""
        await trio.sleep(4)
        line = self.said.pop(0)
        assert line.removeprefix(f"penstock: reloaded {self.path.name}: ") == said

    def topic(self, name: str) -> Any:
        return self.server.hub.topics[name]

    def state(self, name: str) -> str:
        return self.server.hub.supervisors[name].state

    def data(self, name: str) -> list[Any]:
        log = self.topic(name).log
        events = log.read(log.bounds().first - 1, 10_000)
        return [msgspec.json.decode(event.json) for event in events]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    path, modules = sys.path.copy(), set(sys.modules)
    yield Bench(tmp_path)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


async def test_a_pipeline_goes_on_with_new_code_on_the_same_log(
    autojump_clock: Clock, bench: Bench
) -> None:
    bench.write("""
        @server.topic("a")
        def a():
            return ps.every(1).map(lambda _: "old")

        @server.topic("b")
        def b():
            return ps.every(1).scan(0, lambda total, _: total + 1)
    """)
    async with bench.running():
        log, state = bench.topic("a").log, bench.topic("b").log
        bench.edit('"old"', '"new"')
        await bench.settle("a restarted, b unchanged (1 topic kept)")
        assert bench.topic("a").log is log
        data = bench.data("a")
        assert set(data) == {"old", "new"}
        assert data == sorted(data, reverse=True)
        assert bench.topic("b").log is state
        numbers = bench.data("b")
        assert numbers == list(range(1, len(numbers) + 1))
        assert bench.state("a") == "running"


async def test_comments_are_no_change(autojump_clock: Clock, bench: Bench) -> None:
    bench.write("""
        print("loaded")

        @server.topic("a")
        def a():
            return ps.every(1)
    """)
    async with bench.running():
        module = sys.modules[bench.path.stem]
        bench.edit("print", "# say so\nprint")
        await bench.settle("a unchanged (1 topic kept)")
        assert sys.modules[bench.path.stem] is module


async def test_a_file_that_is_wrong_leaves_all_as_it_is(
    autojump_clock: Clock, bench: Bench
) -> None:
    bench.write("""
        @server.topic("a")
        def a():
            return ps.every(1).map(lambda _: "old")
    """)
    async with bench.running():
        module = sys.modules[bench.path.stem]
        wrong = {
            "return ps.every(1)": "return ps.every(-1)",
            '@server.topic("a")': '@server.topic("a", retain=0)',
            "def a():": "import unheard_of\ndef a():",
            "server = Server()": "",
        }
        good = bench.path.read_text()
        for old, new in wrong.items():
            bench.edit(old, new)
            await trio.sleep(4)
            line = bench.said.pop(0)
            assert line.startswith(f"{bench.path}:"), line
            assert "\n" not in line
            assert sys.modules[bench.path.stem] is module
            assert bench.state("a") == "running"
            bench.path.write_text(good)
            await bench.settle("a unchanged (1 topic kept)")
        bench.edit('"old"', '"new"')
        await bench.settle("a restarted (0 topics kept)")
        assert bench.data("a")[-1] == "new"


async def test_a_file_that_is_gone_for_a_moment_is_no_error(
    autojump_clock: Clock, bench: Bench
) -> None:
    bench.write("@server.topic('a')\ndef a():\n    return ps.every(1)\n")
    async with bench.running():
        text = bench.path.read_text()
        bench.path.unlink()
        await trio.sleep(0.6)
        bench.path.write_text(text)
        await trio.sleep(4)
        assert bench.said == []
        bench.path.unlink()
        await trio.sleep(10)
        assert [line.partition(": ")[2] for line in bench.said] == ["no such file"]
        bench.said.clear()
        bench.path.write_text(text)
        await bench.settle("a unchanged (1 topic kept)")


async def test_a_derived_topic_goes_on_where_it_was(autojump_clock: Clock, bench: Bench) -> None:
    bench.write("""
        raw = server.topic("raw", accepts=int)

        @server.topic("double")
        def double():
            return raw.values().map(lambda n: n * 2)

        @server.topic("sum")
        def total():
            return double.values().scan(0, lambda total, n: total + n)
    """)
    async with bench.running():
        for number in (1, 2, 3):
            await bench.topic("raw").publish(number)
        await trio.sleep(1)
        bench.edit("n * 2", "n * 10")
        await trio.sleep(0.3)
        await bench.topic("raw").publish(4)
        await bench.settle("double restarted, raw, sum unchanged (2 topics kept)")
        await bench.topic("raw").publish(5)
        await trio.sleep(1)
        data = bench.data("double")
        assert data[:3] == [2, 4, 6]
        assert data[3] in (8, 40)  # published while it noticed
        assert data[4:] == [50]
        assert bench.data("sum")[-1] == sum(data)


async def test_old_and_new_code_publish_to_the_same_topic(
    autojump_clock: Clock, bench: Bench
) -> None:
    bench.write("""
        raw = server.topic("raw", accepts=int, retain=100)

        @server.topic("copy")
        def copy():
            return raw.values()
    """)
    async with bench.running():
        old = vars(sys.modules[bench.path.stem])["raw"]
        bench.edit("retain=100", "retain=2")
        await bench.settle("raw changed, copy unchanged (2 topics kept)")
        new = vars(sys.modules[bench.path.stem])["raw"]
        assert new is not old
        for number in range(4):
            await (old if number % 2 else new).publish(number)
        await trio.sleep(1)
        assert bench.data("copy") == [0, 1, 2, 3]
        assert old.log.bounds().first == 3
        assert vars(sys.modules[bench.path.stem])["server"].topics["raw"].cursor == old.cursor


async def test_a_topic_with_another_log_is_replaced_for_all_who_hold_it(
    autojump_clock: Clock, bench: Bench
) -> None:
    bench.write("""
        raw = server.topic("raw", accepts=str)

        @server.topic("copy")
        def copy():
            return raw.values()
    """)
    async with bench.running():
        old = bench.topic("raw")
        await old.publish("one")
        bench.edit("accepts=str", "accepts=str, slow='block'")
        await bench.settle("copy restarted, raw replaced (0 topics kept)")
        assert bench.topic("raw") is not old
        assert bench.topic("raw").log.epoch != old.log.epoch
        await old.publish("two")  # a route of the first load
        await bench.topic("raw").publish("three")
        await trio.sleep(1)
        assert bench.data("copy") == ["one", "two", "three"]


async def test_topics_are_added_and_removed(autojump_clock: Clock, bench: Bench) -> None:
    bench.write("""
        @server.topic("a")
        def a():
            return ps.every(1)
    """)
    async with bench.running():
        removed = bench.topic("a")
        bench.edit('topic("a")', 'topic("b")')
        await bench.settle("b added, a removed (0 topics kept)")
        assert removed.log.bounds().ended
        assert list(bench.server.hub.topics) == list(bench.server.hub.supervisors) == ["b"]
        assert len(bench.data("b")) > 1
        bench.edit('topic("b")', 'topic("a")')
        await bench.settle("a added, b removed (0 topics kept)")
        assert bench.topic("a") is not removed
        assert not bench.topic("a").log.bounds().ended


async def test_a_topic_gets_a_pipeline_and_loses_it(autojump_clock: Clock, bench: Bench) -> None:
    bench.write("raw = server.topic('raw', accepts=int)\n")
    async with bench.running():
        bench.path.write_text(bench.path.read_text() + "raw(lambda: ps.every(1))\n")
        await bench.settle("raw restarted (0 topics kept)")
        assert len(bench.data("raw")) > 1
        assert bench.state("raw") == "running"
        bench.edit("raw(lambda: ps.every(1))\n", "")
        await bench.settle("raw restarted (0 topics kept)")
        assert bench.state("raw") == "open"
        length = len(bench.data("raw"))
        await trio.sleep(5)
        assert len(bench.data("raw")) == length


@pytest.mark.expect_error_log
async def test_a_pipeline_that_keeps_failing_is_mended_at_once(
    autojump_clock: Clock, bench: Bench
) -> None:
    bench.write("""
        @server.topic("a")
        def a():
            return ps.every(1).map(lambda n: 1 / 0)
    """)
    async with bench.running():
        await trio.sleep(300)
        assert bench.state("a") == "restarting"
        bench.edit("1 / 0", "1")
        await trio.sleep(2)
        assert bench.state("a") == "running"
        assert bench.data("a")[0] == 1


async def test_a_pipeline_that_has_ended_starts_anew_when_it_changes(
    autojump_clock: Clock, bench: Bench
) -> None:
    bench.write("""
        @server.topic("a")
        def a():
            return ps.from_iterable([1, 2])
    """)
    async with bench.running():
        assert bench.topic("a").log.bounds().ended
        bench.edit("[1, 2]", "[3, 4]")
        await bench.settle("a replaced (0 topics kept)")
        assert bench.data("a") == [3, 4]


async def test_instances_of_a_template_follow_it(autojump_clock: Clock, bench: Bench) -> None:
    bench.write("""
        rooms = server.topic("room.{room}", accepts=str, retain=10)

        @rooms
        def greet(room):
            return ps.every(1).map(lambda _: "hello " + room)

        @server.topic("lobby")
        def lobby():
            return rooms.instance(room="lobby").values()
    """)
    async with bench.running():
        old = vars(sys.modules[bench.path.stem])["rooms"]
        red = old.instance(room="red")
        await trio.sleep(2)
        bench.edit('"hello "', '"hi "')
        await bench.settle("room.{room} restarted, lobby unchanged (1 topic kept)")
        new = vars(sys.modules[bench.path.stem])["rooms"]
        assert new.instance(room="red") is red
        assert {"hello red", "hi red"} == set(bench.data("room.red"))
        assert bench.data("lobby")[-1] == "hi lobby"
        bench.edit("retain=10", "retain=2")
        await bench.settle("room.{room} changed, lobby unchanged (2 topics kept)")
        assert len(bench.data("room.red")) == 2
        assert len(bench.data("room.lobby")) == 2
        blue = new.instance(room="blue")
        await trio.sleep(5)
        assert len(bench.data("room.blue")) == 2
        bench.edit("accepts=str", "accepts=str, encoding='text'")
        await bench.settle("lobby restarted, room.{room} replaced (0 topics kept)")
        assert "room.blue" not in bench.server.hub.topics
        assert blue.live is vars(sys.modules[bench.path.stem])["rooms"].instance(room="blue")
        assert blue.live.encoding == "text"
        bench.edit('"room.{room}"', '"chat.{room}"')
        await bench.settle(
            "lobby restarted, chat.{room} added, room.{room} removed (0 topics kept)"
        )
        assert bench.server.hub.find("room.red") is None
        assert set(bench.server.hub.topics) == {"lobby", "chat.lobby"}


async def test_neighbours_are_loaded_again_when_they_change(
    autojump_clock: Clock, bench: Bench
) -> None:
    values = bench.folder / "reload_values.py"
    values.write_text("SIZE = 1\n")
    steady = bench.folder / "reload_steady.py"
    steady.write_text("seen = []\n")
    between = bench.folder / "reload_between.py"
    between.write_text("import reload_values\ndef size():\n    return reload_values.SIZE\n")
    bench.write("""
        import reload_steady
        from reload_between import size

        @server.topic("a")
        def a():
            return ps.every(1).map(lambda _: size())

        @server.topic("b")
        def b():
            from reload_late import value
            return ps.every(1).map(lambda _: [value, reload_steady.seen])
    """)
    late = bench.folder / "reload_late.py"
    late.write_text("value = 1\n")
    async with bench.running():
        kept = sys.modules["reload_steady"]
        values.write_text("SIZE = 2\n")  # in the same second, and of the same size
        await bench.settle("a restarted, b unchanged (1 topic kept)")
        assert bench.data("a")[-1] == 2
        late.write_text("value = 2\n")
        await bench.settle("b restarted, a unchanged (1 topic kept)")
        assert bench.data("b")[-1] == [2, []]
        assert sys.modules["reload_steady"] is kept
        bench.edit("import reload_steady\n", "import reload_steady, reload_new\n")
        await trio.sleep(4)
        assert "No module named 'reload_new'" in bench.said.pop(0)
        (bench.folder / "reload_new.py").write_text("")
        await bench.settle("a, b unchanged (2 topics kept)")


async def test_what_the_lifespan_opens_is_there_for_each_load(
    autojump_clock: Clock, bench: Bench
) -> None:
    bench.write("""
        import builtins
        log = builtins.__dict__.setdefault("reload_lifespan_log", [])
        pool = []

        @server.lifespan
        async def life():
            pool.append("open")
            log.append("in")
            yield
            log.append("out")

        @server.topic("a")
        def a():
            return ps.every(1).map(lambda _: [pool[0], 1])

        @server.topic("b")
        def b():
            return ps.every(1).map(lambda _: [pool[0], 1])
    """)
    import builtins

    log: list[str] = builtins.__dict__.setdefault("reload_lifespan_log", [])
    try:
        async with bench.running():
            bench.edit("pool[0], 1", "pool[0], 2")
            await bench.settle("a, b restarted (0 topics kept)")
            assert bench.data("a")[-1] == ["open", 2]
            assert log == ["in", "in"]
            bench.edit('log.append("in")', 'log.append("again")')
            await bench.settle("a, b unchanged (2 topics kept)")
            assert bench.said.pop(0) == "penstock: the change of lifespan needs a restart"
            bench.edit("pool[0], 2", "pool[0], 3")
            await bench.settle("a, b restarted (0 topics kept)")
            assert bench.said == []
            assert log == ["in", "in", "again", "out"]
            bench.edit('log.append("again")', "raise OSError('no port')")
            bench.edit("pool[0], 3", "pool[0], 4")
            await trio.sleep(4)
            assert "OSError: no port" in bench.said.pop(0)
            assert bench.data("a")[-1] == ["open", 3]
        assert log == ["in", "in", "again", "out", "out", "out"]
    finally:
        del builtins.__dict__["reload_lifespan_log"]


async def test_the_change_of_a_server_option_is_told(autojump_clock: Clock, bench: Bench) -> None:
    bench.write("@server.topic('a')\ndef a():\n    return ps.every(1)\n")
    bench.edit("Server()", "Server(timing=Timing(retry=1))")
    async with bench.running():
        bench.edit("retry=1", "retry=2")
        await bench.settle("a unchanged (1 topic kept)")
        assert bench.said == ["penstock: the change of timing= needs a restart"]


async def test_a_template_that_is_added_drops_its_idle_instances(
    autojump_clock: Clock, bench: Bench
) -> None:
    bench.write("raw = server.topic('raw', accepts=int)\n")
    async with bench.running():
        text = bench.path.read_text()
        bench.path.write_text(f"{text}rooms = server.topic('r.{{n}}', accepts=int, idle=1)\n")
        await bench.settle("r.{n} added, raw unchanged (1 topic kept)")
        assert bench.server.hub.find("r.1") is not None
        await trio.sleep(20)
        assert "r.1" not in bench.server.hub.topics
