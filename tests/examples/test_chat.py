"""``examples/chat.py``, served by ``penstock serve``: over HTTP, to clients, and in Chromium."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from playwright.sync_api import Page, expect

from penstock import collect
from penstock.net import openai_chat, openai_models
from penstock.wire import ChatMessage

from ..e2e.browser import browser as browser
from ..e2e.browser import page as page
from ..e2e.serving import ROOT, SERVE, Reaper, ServerProcess, eventually, serving

EXAMPLE = ROOT / "examples" / "chat.py"
COMMAND = (*SERVE, str(EXAMPLE), "--bind")
QUESTION = {"role": "user", "content": "What is a cursor?"}


@pytest.fixture(scope="module")
def reaper() -> Iterator[Reaper]:
    with closing(Reaper()) as reaper:
        yield reaper


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[pytest.MonkeyPatch]:
    """What servers see of it: no upstream."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY", "SECONDS_A_WORD"):
            patch.delenv(name, raising=False)
        yield patch


@pytest.fixture(scope="module")
def chat(reaper: Reaper, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving((*COMMAND, "127.0.0.1:0"), tmp_path_factory.mktemp("chat") / "log", reaper) as it:
        yield it
        assert not it.has_new_traceback()


@pytest.fixture(scope="module")
def slow(
    reaper: Reaper, environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """One that leaves time to interrupt it."""
    environment.setenv("SECONDS_A_WORD", "0.1")
    with serving((*COMMAND, "127.0.0.1:0"), tmp_path_factory.mktemp("slow") / "log", reaper) as it:
        environment.delenv("SECONDS_A_WORD")
        yield it
        assert not it.has_new_traceback()


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Pages are slow where many tests run at a time."""
    expect.set_options(timeout=20_000)
    yield
    expect.set_options(timeout=5_000)


def complete(server: ServerProcess, **fields: Any) -> Any:
    """One completion of OpenAI's API."""
    body = {"model": "markov", "messages": [QUESTION], "seed": 7, **fields}
    answer = server.client.post(f"{server.url}/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    completion = answer.json()
    choice = completion["choices"][0]
    return choice["message"]["content"], choice["finish_reason"], completion["usage"]


def running(server: ServerProcess) -> int:
    return int(server.stats()["jobs"]["markov"]["running"])


# Over HTTP


def test_the_model_says_the_same_for_a_seed_and_counts_words(chat: ServerProcess) -> None:
    text, reason, usage = complete(chat, max_tokens=8, temperature=0)
    assert complete(chat, max_tokens=8, temperature=0)[0] == text
    assert (reason, len(text.split())) == ("length", 8)
    assert usage == {"prompt_tokens": 4, "completion_tokens": 8, "total_tokens": 12}


def test_it_stops_where_it_is_told_to(chat: ServerProcess) -> None:
    text, _, _ = complete(chat, max_tokens=6)
    stop = text.split()[3][:2] + text.split()[3][2:]
    before, reason, _ = complete(chat, max_tokens=6, stop=[f"{text.split()[2]} {stop}", "no such"])
    assert reason == "stop"
    assert before == " ".join(text.split()[:2]) + " "


def test_it_streams_word_by_word(chat: ServerProcess) -> None:
    body = {"model": "markov", "messages": [QUESTION], "stream": True, "max_tokens": 5}
    url = f"{chat.url}/v1/chat/completions"
    with chat.client.stream("POST", url, json=body) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    chunks = [json.loads(line)["choices"][0] for line in lines]
    words = [each["delta"]["content"] for each in chunks if each["delta"].get("content")]
    assert len(words) == 5
    assert chunks[-1]["finish_reason"] == "length"


@pytest.mark.parametrize("wrong", [{"temperature": 9}, {"max_tokens": 0}, {"stop": 7}])
def test_a_wrong_wish_is_refused(chat: ServerProcess, wrong: dict[str, Any]) -> None:
    body = {"model": "markov", "messages": [QUESTION], **wrong}
    answer = chat.client.post(f"{chat.url}/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == next(iter(wrong))


def test_our_own_clients_take_it_for_any_upstream(chat: ServerProcess) -> None:
    async def ask() -> tuple[list[str], list[Any]]:
        with trio.fail_after(10):
            answer = openai_chat(f"{chat.url}/v1", "markov", max_tokens=4, seed=7)
            deltas = await answer([ChatMessage("user", "hi")]).to(collect()).run()
            return await openai_models(f"{chat.url}/v1"), deltas

    models, deltas = trio.run(ask)
    assert models == ["markov"]
    assert sum(bool(delta.text) for delta in deltas) == 4
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["length"]
    assert [delta.usage.completion_tokens for delta in deltas if delta.usage] == [4]

    command = (sys.executable, "-m", "penstock.cli", "chat", chat.url)
    done = subprocess.run(command, input=b"hi\n", capture_output=True, check=True, timeout=20)
    assert done.stdout.endswith((b".\n", b"!\n", b"?\n"))


# The page


def send(page: Page, text: str) -> Any:
    """Ask by keyboard; gives the answer's place."""
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    answer = page.locator(".assistant").last
    expect(answer.locator(".said")).to_have_text(re.compile(r"\w+ \w+"))
    return answer


def test_a_conversation_in_the_page(slow: ServerProcess, page: Page) -> None:
    page.goto(f"{slow.url}/chat")
    expect(page.locator("#model")).to_have_text("markov")
    expect(page.get_by_role("heading", name="Ask something")).to_be_visible()

    # Stopped by hand: the server goes no further
    page.get_by_label("Your message").press_sequentially("first line")
    page.keyboard.press("Shift+Enter")
    answer = send(page, "What is a cursor?")
    expect(page.locator(".user")).to_have_text("first line\nWhat is a cursor?", use_inner_text=True)
    assert running(slow) == 1
    page.keyboard.press("Escape")
    eventually(lambda: running(slow) == 0)
    expect(answer.locator(".note")).to_contain_text("Stopped.")
    stopped_at = answer.locator(".said").inner_text()

    # Reloaded in mid-answer: it goes on, and what was said before is there, too
    before = send(page, "And then?").locator(".said").inner_text()
    page.reload()
    answer = page.locator(".assistant").last
    expect(page.locator(".assistant").first.locator(".said")).to_have_text(stopped_at)
    expect(answer.locator(".said")).to_have_text(re.compile(rf"^{re.escape(before)} .*\w"))
    page.get_by_role("button", name="Stop").click()
    eventually(lambda: running(slow) == 0)
    expect(page.get_by_role("button", name="Send")).to_be_visible()

    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".message")).to_have_count(0)


def test_an_answer_that_ends_while_nobody_looks_is_there_afterwards(
    chat: ServerProcess, page: Page
) -> None:
    page.goto(f"{chat.url}/chat")
    send(page, "What is a cursor?")
    page.goto("about:blank")
    eventually(lambda: running(chat) == 0)
    page.goto(f"{chat.url}/chat")
    answer = page.locator(".assistant")
    expect(answer.locator(".said")).to_have_text(re.compile(r"[.!?]$"))
    expect(answer.locator(".note")).to_have_count(0)
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_a_page_that_loses_the_server_says_so_and_asks_again_with_an_upstream_now(
    chat: ServerProcess, slow: ServerProcess, reaper: Reaper, tmp_path: Path, page: Page
) -> None:
    page.goto(f"{slow.url}/chat")
    answer = send(page, "What is a cursor?")
    slow.signal(signal.SIGKILL)
    slow.wait(10)
    expect(page.locator("#connection")).to_have_text(re.compile("lost"))
    expect(page.get_by_role("button", name="Stop")).to_be_visible()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", f"{chat.url}/v1")
        patch.setenv("OPENAI_MODEL", "markov")
        patch.setenv("OPENAI_API_KEY", "sk-secret")
        command = (*COMMAND, f"127.0.0.1:{slow.port}")
        started = chat.stats()["jobs"]["markov"]["started"]
        with serving(command, tmp_path / "log", reaper) as server:
            expect(answer.locator(".note")).to_contain_text("no longer has this answer")
            page.get_by_role("button", name="Ask again").click()
            expect(page.locator(".message")).to_have_count(2)
            answer = page.locator(".assistant")
            expect(answer).to_have_attribute("aria-busy", "false")
            expect(answer.locator(".said")).to_have_text(re.compile(r"\w+ \w+.*[.!?]$"))
            expect(answer.locator(".note")).to_have_count(0)
            assert complete(server, max_tokens=6) == complete(chat, max_tokens=6)
            assert chat.stats()["jobs"]["markov"]["started"] == started + 3
            assert "sk-secret" not in server.stderr
            assert not server.has_new_traceback()
