"""client.js in Chromium, against real servers: restarts, cuts, ten tabs, offline and back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from penstock.wire import Cursor

from .conftest import Launch, StartServer
from .faulty_proxy import cut
from .proxy_thread import ProxyThread, proxy_thread
from .serving import CONFIGS, SERVE, ServerProcess, eventually

CONFIG = "client_js.py"
QUICK = "{initial: 50, maximum: 400}"
PATIENCE = 15.0


@pytest.fixture(scope="module")
def steady(launch: Launch) -> Iterator[ServerProcess]:
    """For the tests that leave the server as it was; each has topics of its own."""
    with ExitStack() as stack:
        yield launch(stack, (*SERVE, str(CONFIGS / CONFIG), "--bind", "127.0.0.1:0"))


def open_page(page: Page, origin: str) -> Page:
    """A page of that origin, with client.js in ``client`` and what it hears in ``heard``."""
    page.goto(f"{origin}/page")
    page.evaluate(
        f"""async () => {{
            window.client = await import("/client.js");
            window.backoff = {QUICK};
            window.heard = {{}};
            window.states = {{}};
            window.hear = (name, type, id, data) => (heard[name] ??= []).push([type, id, data]);
            window.follow = (name, target) => target.addEventListener("state", (event) =>
                (states[name] ??= []).push(event.detail));
        }}"""
    )
    return page


@contextmanager
def proxied(server: ServerProcess, page: Page) -> Iterator[ProxyThread]:
    """The page open through a proxy, and left before that ends."""
    with proxy_thread(server) as proxy:
        open_page(page, proxy.url)
        yield proxy
        page.goto("about:blank")


def heard(page: Page, name: str) -> list[Any]:
    return list(page.evaluate("(name) => heard[name] ?? []", name))


def states(page: Page, name: str) -> list[dict[str, Any]]:
    return list(page.evaluate("(name) => states[name] ?? []", name))


def read_by_event_source(page: Page, topic: str, name: str, options: str = "") -> None:
    page.evaluate(
        f"""([topic, name]) => {{
            const source = new client.ReconnectingEventSource(
                `/topics/${{topic}}`, {{after: "earliest", backoff, {options}}});
            source.onmessage = (event) =>
                hear(name, "event", event.lastEventId, JSON.parse(event.data));
            source.ongap = (event) => hear(name, "gap", event.detail.resumed, event.detail.reason);
            follow(name, source);
            window[name] = source;
        }}""",
        [topic, name],
    )


def read_by_websocket(page: Page, topic: str, name: str, options: str = "") -> None:
    page.evaluate(
        f"""([topic, name]) => {{
            const socket = new client.WebSocketClient("/ws", {{backoff, {options}}});
            const subscription = socket.subscribe(topic, {{after: "earliest"}});
            subscription.onmessage = (event) =>
                hear(name, "event", event.lastEventId, event.data);
            subscription.ongap = ({{detail}}) => hear(name, "gap", detail.resumed, detail.reason);
            follow(name, socket);
            window[name] = socket;
        }}""",
        [topic, name],
    )


def read_by_fetch(page: Page, topic: str, name: str) -> None:
    page.evaluate(
        """([topic, name]) => {
            const stream = client.readStream(`/topics/${topic}`, {after: "earliest", backoff});
            (async () => {
                for await (const {type, id, resumed, data, reason} of stream)
                    hear(name, type, id ?? resumed, data ?? reason);
            })();
        }""",
        [topic, name],
    )


def assert_each_once(messages: list[Any]) -> None:
    """Every event follows the one before it, or a gap that leads to it."""
    for (_, before, _), (type_, id_, _) in pairwise(messages):
        last, this = Cursor.parse(before), Cursor.parse(id_)
        if type_ == "event":
            assert (this.epoch, this.offset) == (last.epoch, last.offset + 1), (id_, before)
        else:
            assert this.epoch != last.epoch or this.offset > last.offset, (id_, before)


def publish(server: ServerProcess, topic: str, values: range) -> None:
    body = "\n".join(map(str, values))
    answer = server.post_body(topic, body, "application/x-ndjson")
    assert answer.status_code == 201, answer.text


def total(server: ServerProcess) -> int:
    return int(server.stats()["connections"]["total"])


def await_last(page: Page, name: str, value: object) -> list[Any]:
    """All that a reader heard, once it has heard this."""
    page.wait_for_function("([name, last]) => heard[name]?.at(-1)[2] === last", arg=[name, value])
    return heard(page, name)


READERS = ("native", "fetching", "shared", "socket", "shared_socket", "stream")


def read_by_all(page: Page, topic: str) -> None:
    read_by_event_source(page, topic, "native")
    read_by_event_source(page, topic, "fetching", 'transport: "fetch"')
    read_by_event_source(page, topic, "shared", "shared: true")
    read_by_websocket(page, topic, "socket")
    read_by_websocket(page, topic, "shared_socket", "shared: true")
    read_by_fetch(page, topic, "stream")


def test_every_reader_outlives_restarts(start_server: StartServer, page: Page) -> None:
    server = start_server(CONFIG)
    open_page(page, server.url)
    read_by_all(page, "a")
    published: list[int] = []
    for number, ending in enumerate((signal.SIGTERM, signal.SIGKILL, None)):
        values = range(number * 1000, number * 1000 + 200)
        publish(server, "a", values[:100])
        if number != 1:  # the second time they are cut in the middle of it
            for name in READERS:
                await_last(page, name, values[99])
        publish(server, "a", values[100:])
        published += values
        if ending is not None:
            server.signal(ending)
            server.wait(10)
            server = start_server(CONFIG, "--bind", f"127.0.0.1:{server.port}")
    for name in READERS:
        messages = await_last(page, name, published[-1])
        assert_each_once(messages)
        values_heard = [data for type_, _, data in messages if type_ == "event"]
        assert values_heard == sorted(set(values_heard)), name
        assert set(published[:100] + published[400:]) <= set(values_heard), name
        gaps = [data for type_, _, data in messages if type_ == "gap"]
        assert set(gaps) == {"epoch"}, name


def test_cuts_lose_nothing(steady: ServerProcess, page: Page) -> None:
    with proxied(steady, page) as proxy:
        read_by_all(page, "a")
        publish(steady, "a", range(100))
        for number in range(1, 6):
            proxy.then(*[cut(2_000 + 500 * nth) for nth in range(12)])
            proxy.reset_all()
            publish(steady, "a", range(number * 100, number * 100 + 100))
        proxy.then()
        proxy.reset_all()
        for name in READERS:
            messages = await_last(page, name, 599)
            assert [data for type_, _, data in messages if type_ == "event"] == list(range(600))


# Ten tabs


@contextmanager
def tabs(browser: Browser, origin: str, number: int) -> Iterator[list[Page]]:
    context: BrowserContext = browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    try:
        yield [open_page(context.new_page(), origin) for _ in range(number)]
    finally:
        context.close()


def await_open(pages: list[Page], name: str) -> None:
    for page in pages:
        page.wait_for_function(
            "(name) => ((last) => last?.state === 'open' && last.shared)(states[name]?.at(-1))",
            arg=name,
        )


def test_ten_tabs_share_one_connection(steady: ServerProcess, browser: Browser) -> None:
    """Over HTTP/1.1, where a browser opens six connections to a server and no more."""
    with tabs(browser, steady.url, 10) as pages:
        first, *others = pages
        for page in pages:
            read_by_event_source(page, "d", "source", "shared: true")
        await_open(pages, "source")
        eventually(lambda: total(steady) == 1, PATIENCE)
        publish(steady, "d", range(50))
        for page in pages:
            assert [data for _, _, data in await_last(page, "source", 49)] == list(range(50))
        assert total(steady) == 1
        for page in pages:
            page.evaluate("() => source.close()")
        eventually(lambda: total(steady) == 0, PATIENCE)

        # And now over a WebSocket.
        for page in pages:
            read_by_websocket(page, "e", "socket", "shared: true")
        await_open(pages, "socket")
        for number, page in enumerate(pages):
            assert page.evaluate("(n) => socket.publish('e', n)", number)["topic"] == "e"
        publish(steady, "e", range(100, 200))
        wanted = [*range(10), *range(100, 200)]
        for page in pages:
            assert [data for _, _, data in await_last(page, "socket", 199)] == wanted
        assert total(steady) == 1
        read_by_websocket(first, "e", "late", "shared: true")  # from the beginning
        assert [data for _, _, data in await_last(first, "late", 199)] == wanted
        eventually(lambda: total(steady) == 1, PATIENCE)
        refused = first.evaluate("() => socket.publish('none', 1).catch((e) => [e.name, e.code])")
        assert refused == ["RefusedError", "unknown_topic"]

        for page in others:
            page.close()
        publish(steady, "e", range(200, 201))
        assert len(await_last(first, "socket", 200)) == len(wanted) + 1
        assert total(steady) == 1
        first.evaluate("() => { socket.close(); late.close(); }")
        eventually(lambda: total(steady) == 0, PATIENCE)


# Offline and back


def test_what_is_published_offline_arrives_once_and_in_order(
    steady: ServerProcess, page: Page
) -> None:
    with proxied(steady, page) as proxy:
        page.evaluate(
            """() => {
                window.socket = new client.WebSocketClient("/ws", {backoff, queue: 50});
                window.publisher = new client.Publisher("/topics/c", {backoff, queue: 50});
                follow("socket", socket);
                window.published = [];
                window.send = (from, to) => {
                    for (let n = from; n < to; n++) {
                        socket.publish("b", n).catch(() => {});
                        published.push(publisher.publish(n).catch((error) => error.name));
                    }
                };
            }"""
        )
        page.evaluate("() => send(0, 20)")
        page.wait_for_function("() => socket.queued + publisher.queued === 0")
        page.evaluate("() => send(20, 40)")  # some of which are under way
        with proxy.down():
            page.wait_for_function("() => socket.state === 'waiting'")
            page.evaluate("() => send(40, 140)")
        page.wait_for_function("() => socket.queued + publisher.queued === 0")
        dropped = page.evaluate("() => [socket.dropped, publisher.dropped]")
        names = page.evaluate("() => Promise.all(published)")
    for topic, lost in zip("bc", dropped, strict=True):
        events = steady.get(f"/topics/{topic}?format=json&after=earliest&limit=1000").json()[
            "events"
        ]
        values = [event["data"] for event in events]
        assert values == sorted(set(values))
        assert set(values) >= {*range(20), *range(90, 140)}
        assert 140 - lost <= len(values) < 140
    assert names.count("DroppedError") == dropped[1]


def test_the_network_s_return_is_noticed_at_once(start_server: StartServer, page: Page) -> None:
    """The waits are a minute long here, and nobody sits them out."""
    server = start_server(CONFIG)
    open_page(page, server.url)
    page.evaluate("() => { window.backoff = {initial: 60_000, maximum: 60_000, jitter: false}; }")
    read_by_all(page, "a")
    publish(server, "a", range(10))
    for name in READERS:
        await_last(page, name, 9)
    page.context.set_offline(True)
    server.kill()
    server = start_server(CONFIG, "--bind", f"127.0.0.1:{server.port}")
    publish(server, "a", range(10, 20))
    page.wait_for_timeout(300)
    page.context.set_offline(False)
    for name in READERS:
        assert_each_once(await_last(page, name, 19))


# Jobs


def test_a_job_goes_on_after_cuts(steady: ServerProcess, page: Page) -> None:
    with proxied(steady, page) as proxy:
        proxy.then(*[cut(700)] * 4)
        proxy.reset_all()
        messages = page.evaluate(
            """async () => {
                const got = [];
                const run = client.readStream("/jobs/count", {method: "POST", body: 100, backoff});
                for await (const {type, data} of run) got.push(type === "event" ? data : type);
                return got;
            }"""
        )
    assert messages == [*range(1, 101), "end"]
    assert steady.stats()["jobs"]["count"]["started"] == 1
