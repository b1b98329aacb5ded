"""``/jobs`` over HTTP, as section 6 of the protocol has it, through the ASGI interface."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock as Clock

import penstock as ps
from penstock.wire import JSON, MSGPACK, Cursor
from penstock_server import ApiKeys, Grant, Limits

from ..asgi_driver import Driver
from ..jobs.bench import (
    ASYNC,
    BODY,
    NDJSON,
    PACKED,
    PAGE,
    SSE,
    Bench,
    Count,
    lines,
    refused,
    settled,
)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench().serving() as bench:
        yield bench


# Starting, in every representation


async def test_sse(autojump_clock: Clock, bench: Bench) -> None:
    async with bench.post("count", {"to": 2}, SSE) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream"
        path = response.headers["location"]
        run = bench.run_at(path)
        epoch = run.topic.log.epoch
        text = (await response.read()).decode()
    end = msgspec.json.encode({"type": "end", "topic": f"count.{run.id}", "id": f"{epoch}-2"})
    assert text.split("\n\n") == [
        f"retry: 2000\nid: {epoch}-0",
        f"id: {epoch}-1\ndata: 0",
        f"id: {epoch}-2\ndata: 1",
        f"id: {epoch}-2\nevent: end\ndata: {end.decode()}",
        "",
    ]
    assert path == f"/jobs/count/{run.id}"


@pytest.mark.parametrize(("accept", "codec"), [(NDJSON, JSON), (PACKED, MSGPACK)])
async def test_messages(
    autojump_clock: Clock, bench: Bench, accept: dict[str, str], codec: Any
) -> None:
    async with bench.post("count", {"to": 2}, accept) as response:
        assert response.headers["content-type"] == accept["accept"]
        run = bench.run_at(response.headers["location"])
        topic, epoch = f"count.{run.id}", run.topic.log.epoch
        assert codec.decode_values(await response.read()) == [
            {"type": "subscribed", "topic": topic, "id": f"{epoch}-0"},
            {"type": "event", "topic": topic, "id": f"{epoch}-1", "data": 0},
            {"type": "event", "topic": topic, "id": f"{epoch}-2", "data": 1},
            {"type": "end", "topic": topic, "id": f"{epoch}-2"},
        ]


async def test_a_page_is_what_there_is_so_far(autojump_clock: Clock, bench: Bench) -> None:
    async with bench.post("count", {"to": 3, "each": 1}, PAGE) as response:
        path = response.headers["location"]
        epoch = bench.run_at(path).topic.log.epoch
        first = await response.json()
    assert first == {"events": [], "next": f"{epoch}-0", "end": False, "status": "running"}
    second = await bench.page(f"{path}?after={first['next']}&wait=60")
    assert second == {
        "events": [{"id": f"{epoch}-1", "data": 0}],
        "next": f"{epoch}-1",
        "end": False,
        "status": "running",
    }
    await trio.sleep(5)
    last = await bench.page(path)
    assert [each["data"] for each in last["events"]] == [0, 1, 2]
    assert (last["end"], last["status"]) == (True, "done")
    assert "error" not in last


async def test_a_page_that_waits_for_the_first_event(autojump_clock: Clock, bench: Bench) -> None:
    target = "/jobs/count?format=json&wait=5"
    async with bench.driver.request("POST", target, BODY, b'{"to":2,"each":1}') as response:
        page = await response.json()
    assert [each["data"] for each in page["events"]] == [0]


async def test_asked_to_respond_asynchronously(autojump_clock: Clock, bench: Bench) -> None:
    headers = {**BODY, "prefer": "wait=3, Respond-Async; x=1"}
    response, body = await bench.driver.fetch("POST", "/jobs/count", headers, b'{"to":2}')
    assert (response.status, body) == (202, b"")
    assert response.headers["preference-applied"] == "respond-async"
    await settled()
    page = await bench.page(response.headers["location"])
    assert (page["status"], len(page["events"])) == ("done", 2)


async def test_another_preference_is_nothing_to_us(autojump_clock: Clock, bench: Bench) -> None:
    async with bench.post("count", {"to": 1}, {"prefer": "return=minimal"}) as response:
        assert response.status == 200
        assert "preference-applied" not in response.headers


# The body


async def test_a_body_in_messagepack(autojump_clock: Clock, bench: Bench) -> None:
    headers = {"content-type": "application/msgpack", **NDJSON}
    body = MSGPACK.encode({"to": 1})
    async with bench.driver.request("POST", "/jobs/count", headers, body) as response:
        assert [each["type"] for each in await lines(response)] == ["subscribed", "event", "end"]


@pytest.mark.parametrize("body", [None, False, 0, "", [], {"deep": [1, {"er": None}]}, "ü"])
async def test_any_value_is_a_body_where_no_type_is_declared(
    autojump_clock: Clock, bench: Bench, body: object
) -> None:
    async with bench.post("echo", body, NDJSON) as response:
        assert (await lines(response))[1]["data"] == body


async def test_no_body_and_no_content_type(autojump_clock: Clock, bench: Bench) -> None:
    async with bench.driver.request("POST", "/jobs/echo", NDJSON) as response:
        assert (await lines(response))[1]["data"] is None


async def test_a_job_that_takes_no_body(autojump_clock: Clock, bench: Bench) -> None:
    for body in (None, {"ignored": True}):
        async with bench.post("hello", body, NDJSON) as response:
            assert (await lines(response))[1]["data"] == "hello"


async def test_a_default_stands_for_an_empty_body(autojump_clock: Clock) -> None:
    bench = Bench()

    @bench.server.job("squares", accepts=Count)
    def squares(count: Count = Count(3)) -> ps.Stream[int]:  # noqa: B008 - it isn't changed
        return ps.from_iterable(range(count.to)).map(lambda n: n * n)

    async with bench.serving():
        for body, expected in ((None, [0, 1, 4]), ({"to": 2}, [0, 1])):
            async with bench.post("squares", body, NDJSON) as response:
                data = [each["data"] for each in await lines(response) if each["type"] == "event"]
            assert data == expected


async def test_a_body_that_is_not_of_the_type(autojump_clock: Clock, bench: Bench) -> None:
    for body, path in ((b'{"to":"x"}', "$.to"), (b"{}", "$.to"), (b"", "$"), (b"null", "$")):
        problem = await refused(bench, 422, "POST", "/jobs/count", body=body)
        assert problem["errors"][0]["path"] == path
    assert bench.server.hub.jobs.counted == {}


@pytest.mark.expect_error_log
async def test_a_type_that_fails_by_itself(autojump_clock: Clock) -> None:
    @dataclass
    class Wrong:
        n: int

        def __post_init__(self) -> None:
            raise RuntimeError(f"no {self.n} today")

    bench = Bench()
    bench.server.job("wrong", accepts=Wrong)(lambda wrong: ps.from_iterable([wrong.n]))
    async with bench.serving():
        problem = await refused(bench, 500, "POST", "/jobs/wrong", body=b'{"n":1}')
        assert "today" not in problem["detail"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"1 2", "application/json", 400),
        (b"\x01\x02", "application/msgpack", 400),
        (b"123456789012345678901234567890", "application/json", 400),
        (b"1\n2\n", "application/x-ndjson", 415),
        (b"a=1", "application/x-www-form-urlencoded", 415),
        (b"[" + b" " * (1 << 20) + b"]", "application/json", 413),
    ],
)
async def test_bodies_that_are_not_taken(
    autojump_clock: Clock, bench: Bench, body: bytes, kind: str, status: int
) -> None:
    headers = {"content-type": kind}
    await refused(bench, status, "POST", "/jobs/echo", headers=headers, body=body)
    assert bench.running == 0


async def test_a_body_without_a_type(autojump_clock: Clock, bench: Bench) -> None:
    response, _ = await bench.driver.fetch("POST", "/jobs/echo", {}, b"{}")
    assert response.status == 415
    assert response.headers["accept-post"] == "application/json, application/msgpack"


@pytest.mark.parametrize(
    "target",
    [
        "/jobs/count?after=nonsense",
        "/jobs/count?slow=sideways",
        "/jobs/count?format=xml",
        "/jobs/count?format=json&limit=0",
        "/jobs/count?format=json&wait=many",
        "/jobs/count?format=json&after=%20",
    ],
)
async def test_a_query_that_is_wrong_starts_nothing(
    autojump_clock: Clock, bench: Bench, target: str
) -> None:
    await refused(bench, 400, "POST", target, body=b'{"to":1}')
    await settled()
    assert bench.server.hub.jobs.counted == {}


async def test_a_cursor_of_another_log_is_a_gap(autojump_clock: Clock, bench: Bench) -> None:
    """As clients send it that POST again when they reconnect."""
    headers = {**SSE, "last-event-id": "abc-7"}
    async with bench.post("count", {"to": 1}, headers) as response:
        gap, *rest = await response.events(3)
    assert gap.event == "gap"
    assert msgspec.json.decode(gap.data)["reason"] == "epoch"
    assert rest[0].data == "0"


# Reading


async def test_a_run_is_read_from_its_beginning(autojump_clock: Clock, bench: Bench) -> None:
    path = await bench.start("count", {"to": 3})
    await settled()
    async with bench.driver.request("GET", path, SSE) as response:
        assert [each.data for each in await response.events(3)] == ["0", "1", "2"]
        assert (await response.event()).event == "end"
    async with bench.driver.request("GET", f"{path}?after=latest", NDJSON) as response:
        assert [each["type"] for each in await lines(response)] == ["subscribed", "end"]
    assert len((await bench.page(path))["events"]) == 3
    assert (await bench.page(f"{path}?limit=1"))["end"] is False


async def test_a_reader_resumes(autojump_clock: Clock, bench: Bench) -> None:
    path = await bench.start("far", {"to": 5})
    await settled()
    epoch = bench.run_at(path).topic.log.epoch
    headers = {**SSE, "last-event-id": str(Cursor(epoch, 3))}
    async with bench.driver.request("GET", f"{path}?after=earliest", headers) as response:
        assert [each.data for each in await response.events(2)] == ["3", "4"]
    async with bench.driver.request("GET", f"{path}?after={epoch}-4", NDJSON) as response:
        assert (await lines(response))[1]["data"] == 4


async def test_eventsource_is_told_not_to_come_again(autojump_clock: Clock, bench: Bench) -> None:
    path = await bench.start("count", {"to": 3})
    await settled()
    last = str(bench.run_at(path).topic.cursor)
    response, body = await bench.driver.fetch("GET", path, {**SSE, "last-event-id": last})
    assert (response.status, body) == (204, b"")


async def test_head(autojump_clock: Clock, bench: Bench) -> None:
    path = await bench.start("count", {"to": 3, "each": 1})
    response, body = await bench.driver.fetch("HEAD", path, SSE)
    assert (response.status, body) == (200, b"")
    assert response.headers["content-type"] == "text/event-stream"
    response, body = await bench.driver.fetch("HEAD", path, PAGE)
    assert (response.status, body) == (200, b"")
    assert int(response.headers["content-length"]) > 0
    # Whoever only asks for the head is no reader whose going would cancel the run.
    await trio.sleep(5)
    assert (await bench.page(path))["status"] == "done"


async def test_a_query_that_is_wrong_harms_no_run(autojump_clock: Clock, bench: Bench) -> None:
    path = await bench.start("count", {"to": 3, "each": 1})
    await refused(bench, 400, "GET", f"{path}?after=nonsense", headers=SSE)
    await refused(bench, 400, "GET", f"{path}?limit=0", headers=PAGE)
    await refused(bench, 406, "GET", path, headers={"accept": "image/png"})
    await trio.sleep(5)
    assert (await bench.page(path))["status"] == "done"


async def test_a_finished_run_is_kept_for_its_time(autojump_clock: Clock, bench: Bench) -> None:
    path = await bench.start("far", {"to": 1})
    await trio.sleep(59)
    assert (await bench.page(path))["status"] == "done"
    await trio.sleep(2)
    problem = await refused(bench, 404, "GET", path)
    assert problem["detail"] == ("Job far has no such run; a finished one is kept for 60 seconds.")
    await refused(bench, 404, "DELETE", path)


async def test_a_run_is_found_under_its_own_job_only(autojump_clock: Clock, bench: Bench) -> None:
    path = await bench.start("far", {"to": 1})
    id_ = path.rpartition("/")[2]
    await refused(bench, 404, "GET", f"/jobs/count/{id_}")
    await refused(bench, 404, "DELETE", f"/jobs/count/{id_}")
    assert (await bench.page(path))["events"]


async def test_ids_cannot_be_guessed(autojump_clock: Clock, bench: Bench) -> None:
    ids = {(await bench.start("hello")).rpartition("/")[2] for _ in range(50)}
    assert len(ids) == 50
    assert min(map(len, ids)) >= 18  # 128 bits in base 36 are 25 digits, but for leading zeros


# Cancelling


async def test_delete_cancels(autojump_clock: Clock, bench: Bench) -> None:
    async with bench.post("count", {"to": 9, "each": 1}, NDJSON) as response:
        path = response.headers["location"]
        assert (await response.lines())[0]["type"] == "subscribed"
        assert (await response.lines())[0]["data"] == 0
        for _ in range(2):  # and again: it is over, and stays so
            answer, body = await bench.driver.fetch("DELETE", path)
            assert (answer.status, body) == (204, b"")
        assert [each["type"] for each in await lines(response)] == ["end"]
    assert bench.log == ["begun", "ended"]
    page = await bench.page(path)
    assert (page["status"], page["end"]) == ("cancelled", True)
    assert "error" not in page
    assert bench.running == 0


async def test_delete_of_a_finished_run_changes_nothing(
    autojump_clock: Clock, bench: Bench
) -> None:
    path = await bench.start("count", {"to": 1})
    await settled()
    response, _ = await bench.driver.fetch("DELETE", path)
    assert response.status == 204
    assert (await bench.page(path))["status"] == "done"


# Failing


@pytest.mark.expect_error_log
async def test_a_failed_run_says_so_without_internals(autojump_clock: Clock, bench: Bench) -> None:
    problem = {
        "type": "about:blank",
        "title": "Job Failed",
        "status": 500,
        "detail": "The job failed; the server's log has the error.",
    }
    async with bench.post("fail", None, SSE) as response:
        path = response.headers["location"]
        *data, error, end = await response.events(4)
    assert [each.data for each in data] == ["1.0", "2.0"]
    assert (error.event, JSON.decode_value(error.data)) == ("error", problem)
    assert end.event == "end"
    page = await bench.page(path)
    assert (page["status"], page["error"], page["end"]) == ("failed", problem, True)
    assert page["events"][-1]["event"] == "error"


@pytest.mark.expect_error_log
async def test_the_error_of_a_job_that_yields_text(autojump_clock: Clock) -> None:
    bench = Bench()

    @bench.server.job("text", encoding="text")
    def text() -> ps.Stream[str]:
        return ps.every(1, 3).map(["two\nlines", ""].__getitem__)

    async with bench.serving():
        async with bench.post("text", None, SSE) as response:
            one, two, error, end = await response.events(4)
        assert [one.data, two.data] == ["two\nlines", ""]
        assert msgspec.json.decode(error.data)["title"] == "Job Failed"
        assert (error.event, end.event) == ("error", "end")
        async with bench.post("text", None, NDJSON) as response:
            *_, message, _ = await lines(response)
        assert message["data"]["title"] == "Job Failed"


# Idempotency


async def test_a_repetition_joins_the_run(autojump_clock: Clock, bench: Bench) -> None:
    keyed = {**NDJSON, "idempotency-key": "one"}
    async with bench.post("count", {"to": 3, "each": 1}, keyed) as first:
        assert "idempotent-replayed" not in first.headers
        async with bench.post("count", {"to": 3, "each": 1}, keyed) as second:
            assert second.headers["idempotent-replayed"] == "true"
            assert second.headers["location"] == first.headers["location"]
            data = [
                [each.get("data") for each in await lines(response)] for response in (first, second)
            ]
    assert data == [[None, 0, 1, 2, None]] * 2
    assert bench.log == ["begun", "ended"]
    assert bench.server.hub.jobs.counted["count", "started"] == 1
    path = await bench.start("count", {"to": 3, "each": 1}, **{"idempotency-key": '"one"'})
    assert path == first.headers["location"]


async def test_the_same_key_with_another_body(autojump_clock: Clock, bench: Bench) -> None:
    await bench.start("count", {"to": 3}, **{"idempotency-key": "one"})
    headers = {"idempotency-key": "one"}
    problem = await refused(bench, 422, "POST", "/jobs/count", headers=headers, body=b'{"to":4}')
    assert problem["title"] == "Key Used Before"


async def test_a_key_is_one_of_its_job_and_forgotten_with_its_run(
    autojump_clock: Clock, bench: Bench
) -> None:
    first = await bench.start("far", {"to": 3}, **{"idempotency-key": "one"})
    other = await bench.start("count", {"to": 3}, **{"idempotency-key": "one"})
    assert other != first
    await trio.sleep(70)
    again = await bench.start("far", {"to": 4}, **{"idempotency-key": "one"})
    assert again != first


@pytest.mark.parametrize("key", ["", "k" * 129, "é" * 65])
async def test_keys_that_are_none(autojump_clock: Clock, bench: Bench, key: str) -> None:
    headers = {"idempotency-key": key}
    await refused(bench, 400, "POST", "/jobs/hello", headers=headers)


# Limits


async def test_too_many_runs_of_a_job(autojump_clock: Clock) -> None:
    bench = Bench()
    bench.server.job("two", accepts=Count, max_running=2)(bench.counting)
    async with bench.serving():
        first = await bench.start("two", {"to": 9, "each": 1})
        await bench.start("two", {"to": 9, "each": 1})
        problem = await refused(bench, 429, "POST", "/jobs/two", body=b'{"to":1}')
        assert problem["headers"]["retry-after"] == "2"
        assert problem["detail"] == "Try again later: the job two runs 2 times already."
        await bench.start("count", {"to": 1})  # another job
        await bench.driver.fetch("DELETE", first)
        await settled()
        await bench.start("two", {"to": 1})


async def test_too_many_runs_in_all(autojump_clock: Clock) -> None:
    async with Bench(limits=Limits(max_jobs_running=2)).serving() as bench:
        await bench.start("count", {"to": 9, "each": 1})
        await bench.start("far", {"to": 9, "each": 1})
        problem = await refused(bench, 429, "POST", "/jobs/echo", body=b"1")
        assert problem["title"] == "Too Many Jobs"
        assert problem["headers"]["retry-after"] == "2"


async def test_a_server_that_has_not_started(autojump_clock: Clock) -> None:
    bench = Bench()
    async with trio.open_nursery() as nursery:
        bench.driver = Driver(bench.server, nursery)
        problem = await refused(bench, 503, "POST", "/jobs/hello")
    assert problem["headers"]["retry-after"] == "2"


async def test_a_job_without_a_function(autojump_clock: Clock) -> None:
    bench = Bench()
    bench.server.job("later")
    async with bench.serving():
        problem = await refused(bench, 503, "POST", "/jobs/later")
        assert problem["detail"] == "Try again later: the job later has no function yet."


# Methods, paths, pages of other origins


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/jobs", "GET, HEAD, OPTIONS"),
        ("GET", "/jobs/count", "POST, OPTIONS"),
        ("DELETE", "/jobs/count", "POST, OPTIONS"),
        ("POST", "/jobs/count/abc", "GET, HEAD, DELETE, OPTIONS"),
        ("PUT", "/jobs/count/abc", "GET, HEAD, DELETE, OPTIONS"),
    ],
)
async def test_methods(
    autojump_clock: Clock, bench: Bench, method: str, path: str, allow: str
) -> None:
    problem = await refused(bench, 405, method, path)
    assert problem["headers"]["allow"] == allow
    response, _ = await bench.driver.fetch("OPTIONS", path)
    assert (response.status, response.headers["allow"]) == (204, allow)


async def test_what_there_is_not(autojump_clock: Clock, bench: Bench) -> None:
    problem = await refused(bench, 404, "POST", "/jobs/nothing")
    assert problem["detail"] == "There is no job 'nothing'."
    await refused(bench, 404, "GET", "/jobs/nothing/abc")
    await refused(bench, 404, "DELETE", "/jobs/count/abc")
    await refused(bench, 406, "POST", "/jobs/hello", headers={"accept": "image/png"})
    assert bench.running == 0


async def test_pages_of_other_origins(autojump_clock: Clock) -> None:
    page = {"origin": "https://page.example"}
    async with Bench(cors=["https://page.example"]).serving() as bench:
        ask = {**page, "access-control-request-method": "DELETE"}
        response, _ = await bench.driver.fetch("OPTIONS", "/jobs/count/abc", ask)
        assert response.headers["access-control-allow-origin"] == "https://page.example"
        assert "DELETE" in response.headers["access-control-allow-methods"]
        allowed = response.headers["access-control-allow-headers"].lower()
        assert {"prefer", "idempotency-key", "last-event-id"} <= set(allowed.split(", "))
        for accept in (SSE, PAGE, ASYNC):
            async with bench.post("hello", None, {**page, **accept}) as response:
                assert response.headers["access-control-allow-origin"] == "https://page.example"
                assert "Location" in response.headers["access-control-expose-headers"]
                path = response.headers["location"]
        response, _ = await bench.driver.fetch("DELETE", path, page)
        assert response.headers["access-control-allow-origin"] == "https://page.example"
        foreign = {"origin": "https://other.example"}
        await refused(bench, 403, "POST", "/jobs/hello", headers=foreign)
        await refused(bench, 403, "DELETE", path, headers=foreign)


async def test_the_list(autojump_clock: Clock, bench: Bench) -> None:
    await bench.start("count", {"to": 9, "each": 1})
    response, body = await bench.driver.fetch("GET", "/jobs")
    listed = {each["name"]: each for each in msgspec.json.decode(body)["jobs"]}
    assert list(listed) == ["count", "far", "echo", "hello", "fail"]
    assert listed["count"]["running"] == 1
    assert listed["count"]["max_running"] == 100
    assert set(listed["count"]["schema"]["$defs"]["Count"]["properties"]) == {"to", "each"}
    assert listed["echo"]["schema"] is None
    response, body = await bench.driver.fetch("HEAD", "/jobs/")
    assert (response.status, body) == (200, b"")


# Rights


COUNT_KEY, ANOTHER_KEY, READ_KEY = (each * 20 for each in "car")
KEYS = {
    COUNT_KEY: Grant(subject="counter", jobs=("count", "far")),
    ANOTHER_KEY: Grant(subject="another", jobs=("count", "far")),
    READ_KEY: Grant(subject="reader", subscribe=("*",)),
}


@pytest.fixture
async def guarded() -> AsyncIterator[Bench]:
    async with Bench(auth=ApiKeys(KEYS)).serving() as bench:
        yield bench


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_who_may_run_what(autojump_clock: Clock, guarded: Bench) -> None:
    await refused(guarded, 401, "POST", "/jobs/count", body=b'{"to":1}')
    await refused(guarded, 401, "GET", "/jobs")
    reader, counter = bearer(READ_KEY), bearer(COUNT_KEY)
    await refused(guarded, 403, "POST", "/jobs/count", headers=reader, body=b'{"to":1}')
    await refused(guarded, 403, "POST", "/jobs/nothing", headers=reader)
    await refused(guarded, 403, "POST", "/jobs/hello", headers=counter)
    path = await guarded.start("count", {"to": 1}, **counter)
    for method in ("GET", "DELETE"):
        await refused(guarded, 401, method, path)
        await refused(guarded, 403, method, path, headers=reader)
    response, _ = await guarded.driver.fetch("DELETE", path, counter)
    assert response.status == 204
    for headers, names in ((counter, ["count", "far"]), (reader, [])):
        _, body = await guarded.driver.fetch("GET", "/jobs", headers)
        assert [each["name"] for each in msgspec.json.decode(body)["jobs"]] == names


async def test_idempotency_keys_are_those_of_a_subject(
    autojump_clock: Clock, guarded: Bench
) -> None:
    keyed = {"idempotency-key": "one"}
    first = await guarded.start("far", {"to": 1}, **bearer(COUNT_KEY), **keyed)
    other = await guarded.start("far", {"to": 2}, **bearer(ANOTHER_KEY), **keyed)
    again = await guarded.start("far", {"to": 1}, **bearer(COUNT_KEY), **keyed)
    assert first == again != other


async def test_a_revoked_reader_is_gone(autojump_clock: Clock, guarded: Bench) -> None:
    async with guarded.post("count", {"to": 99, "each": 1}, {**NDJSON, **bearer(COUNT_KEY)}) as got:
        path = got.headers["location"]
        await got.lines()
        await guarded.server.revoke(subject="counter")
        *_, last = await lines(got)
    assert (last["type"], last["code"]) == ("error", "forbidden")
    await settled()
    assert guarded.running == 0
    assert guarded.run_at(path).status == "cancelled"
    assert guarded.log == ["begun", "ended"]
