"""The law of jobs: whoever reads a run gets each event once and in order, or is told of the gap;
its status says how it ended; and in the end nothing runs any more.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from trio.testing import MockClock

import penstock as ps
from penstock.wire import JSON, Cursor
from penstock_server import Server, Timing

from ..server.asgi_driver import Driver, Response, serving

NDJSON = {"accept": "application/x-ndjson", "content-type": "application/json"}
JOBS = {
    "near": {"detach": 0, "slow": "block"},
    "far": {"detach": 5, "slow": "block"},
    "loose": {"detach": 5, "slow": "skip"},
    "forever": {"detach": None, "slow": "skip"},
}
RETAIN = 4
END = "end"


class Body(msgspec.Struct):
    """How many events there will be, and whether the run fails after them."""

    length: int
    fails: bool


def make() -> Server:
    server = Server(timing=Timing(grace=4))
    for name, options in JOBS.items():

        def numbers(body: Body) -> ps.Stream[int]:
            return ps.every(1, body.length + body.fails).map(
                lambda n: n if n < body.length else [][n]
            )

        any_options: Any = options
        server.job(name, accepts=Body, retain=RETAIN, keep=1000, batch=2, **any_options)(numbers)
    return server


class Client:
    """One who reads a run, at a position, and checks what comes."""

    def __init__(self, path: str, body: Body, *, is_first: bool = False) -> None:
        self.path = path
        self.body = body
        self.is_first = is_first
        self.position = 0
        self.epoch = ""
        self.ended = False
        self._stack: AsyncExitStack | None = None
        self._response: Response | None = None

    async def open(self, request: Any) -> Response:
        """Take the answer to a request for the run."""
        await self.leave()
        self._stack = AsyncExitStack()
        response: Response = await self._stack.enter_async_context(request)
        assert response.status == 200
        self._response = response
        return response

    async def leave(self) -> None:
        stack, self._stack, self._response = self._stack, None, None
        self.is_first = self.is_first and stack is None
        if stack is not None:
            await stack.aclose()

    async def read(self, pieces: int) -> None:
        for _ in range(pieces):
            piece = None if self._response is None else await self._response.piece()
            if piece is None:
                return
            for message in JSON.decode_values(piece):
                self._take(message)

    def _take(self, message: Any) -> None:
        assert not self.ended, "something came after the end"
        match message["type"]:
            case "subscribed":
                start = Cursor.parse(message["id"])
                self.epoch = start.epoch
                if not self.position:  # it asked for all that is retained
                    self.position = start.offset
                    assert not (self.is_first and start.offset), "the run began without it"
            case "event":
                self.position += 1
                assert Cursor.parse(message["id"]) == Cursor(self.epoch, self.position)
                self.check_data(message)
            case "gap":
                assert self.path.split("/")[2] != "near", "a run that is read is waited for"
                assert Cursor.parse(message["requested"]).offset == self.position
                resumed = Cursor.parse(message["resumed"]).offset
                assert resumed - self.position == message["missed"] > 0
                self.position = resumed
            case "end":
                self.ended = True
                assert Cursor.parse(message["id"]).offset == self.position
            case other:
                assert other in ("keepalive", "reconnect")

    def check_data(self, event: Any) -> None:
        offset = Cursor.parse(event["id"]).offset
        if "event" in event:
            assert event["event"] == "error"
            assert offset <= self.body.length + 1
        else:
            assert event["data"] == offset - 1


class World:
    """A server, and all who read its runs."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.clients: list[Client] = []

    async def do(self, action: str, which: int, amount: int) -> None:
        if action == "start":
            await self._start(list(JOBS)[which % len(JOBS)], Body(amount, which % 3 == 0))
            return
        if action == "sleep":
            await trio.sleep(amount / 2)
        if not self.clients:
            return
        client = self.clients[which % len(self.clients)]
        match action:
            case "read":
                await client.read(amount)
            case "leave":
                await client.leave()
            case "resume" if not client.ended:
                after = f"{client.epoch}-{client.position}" if client.position else "earliest"
                target = f"{client.path}?after={after}"
                await client.open(self.driver.request("GET", target, NDJSON))
            case "join":
                other = Client(client.path, client.body)
                await other.open(self.driver.request("GET", client.path, NDJSON))
                self.clients.append(other)
            case "poll":
                await self.poll(client)
            case "cancel":
                answer, _ = await self.driver.fetch("DELETE", client.path)
                assert answer.status == 204

    async def _start(self, job: str, body: Body) -> None:
        client = Client("", body, is_first=True)
        content = msgspec.json.encode(body)
        request = self.driver.request("POST", f"/jobs/{job}", NDJSON, content)
        client.path = (await client.open(request)).headers["location"]
        self.clients.append(client)

    async def poll(self, client: Client) -> Any:
        """A page; what it says of the run is true."""
        target = f"{client.path}?format=json&limit=1000"
        answer, body = await self.driver.fetch("GET", target)
        assert answer.status == 200
        page = msgspec.json.decode(body)
        for event in page["events"]:
            client.check_data(event)
        last = Cursor.parse(page["next"]).offset
        failed = [each for each in page["events"] if each.get("event") == "error"]
        assert page["end"] == (page["status"] != "running")
        assert ("error" in page) == (page["status"] == "failed") == bool(failed)
        match page["status"]:
            case "done":
                assert (last, client.body.fails) == (client.body.length, False)
            case "failed":
                # What was in the same chunk as the failing item is lost with it.
                assert last <= client.body.length + 1
                assert client.body.fails
            case _:
                assert last <= client.body.length
        return page

    async def finish(self) -> None:
        """All go, and in the end nothing runs; whoever asks is told the same again and again."""
        for client in self.clients:
            await client.leave()
        await trio.sleep(25)
        jobs = self.driver.server.hub.jobs
        assert jobs.running == 0
        started = sum(number for (_, what), number in jobs.counted.items() if what == "started")
        assert sum(jobs.counted.values()) == 2 * started
        for client in self.clients:
            page = await self.poll(client)
            assert page["status"] != "running"
            if client.ended:
                assert client.position == Cursor.parse(page["next"]).offset
            run = jobs.find(*client.path.split("/")[2:])
            assert run is not None
            assert len(run.topic.audience) == 0


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["start", "start", "read", "read", "leave", "resume", "join", "poll", "cancel", "sleep"]
        ),
        st.integers(0, 11),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=25,
)


@given(ACTIONS)
@hypothesis_settings(max_examples=20)
@pytest.mark.expect_error_log
def test_readers_of_runs_come_and_go(actions: list[tuple[str, int, int]]) -> None:
    async def play() -> None:
        async with serving(make()) as driver:
            world = World(driver)
            for action in actions:
                await world.do(*action)
            await world.finish()

    trio.run(play, clock=MockClock(autojump_threshold=0))
