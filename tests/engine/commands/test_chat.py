"""``penstock chat``: on a real terminal and for scripts, in a process of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import psutil
import pytest
import trio
from click.testing import CliRunner

from penstock._commands.conversation import Conversation
from penstock._commands.talk import plain
from penstock.cli import main

from ..scripted_upstream import (
    DONE,
    OPEN_ENDED,
    STOP,
    Script,
    ScriptedUpstream,
    answer,
    data,
    delta,
    text,
    upstream,
)

COMMAND = (sys.executable, "-m", "penstock.cli", "chat")
MODELS = answer("200 OK", {"object": "list", "data": [{"id": "m-1"}, {"id": "m-2"}]})
PATIENCE = 20


def says(*words: str) -> bytes:
    return OPEN_ENDED + b"".join(map(text, words)) + STOP + DONE


async def says_a_little(connection: trio.SocketStream) -> None:
    await connection.send_all(OPEN_ENDED + text("never ") + text("ending"))
    await trio.sleep_forever()


async def run(
    url: str, *arguments: str, given: str | bytes = ""
) -> subprocess.CompletedProcess[bytes]:
    """The command as a script runs it."""
    with trio.fail_after(PATIENCE):
        return await trio.run_process(
            (*COMMAND, url, *arguments),
            stdin=given.encode() if isinstance(given, str) else given,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )


class Terminal:
    """A terminal with the command in it."""

    def __init__(self, master: int, process: trio.Process) -> None:
        self._master = master
        self.process = process
        self.shown = ""

    async def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())
        await trio.lowlevel.checkpoint()

    async def interrupt(self) -> None:
        """Type Ctrl-C, once the command waits.

        Right behind the prompt it may not do so yet, and Python's `input` would notice a signal of
        that moment with the next key.
        """
        status = psutil.Process(self.process.pid).status
        with trio.fail_after(PATIENCE):
            while status() != psutil.STATUS_SLEEPING:  # noqa: ASYNC110 - there is no event of it
                await trio.sleep(0.001)
        await self.type("\x03")

    async def expect(self, what: str) -> str:
        """Wait until it shows that; gives what came until then, and goes on behind it."""
        with trio.move_on_after(PATIENCE):
            while what not in self.shown:
                await trio.lowlevel.wait_readable(self._master)
                self.shown += os.read(self._master, 65_536).decode()
        before, found, self.shown = self.shown.partition(what)
        assert found, f"{what!r} was not shown, but {before!r}"
        return before

    async def exit_code(self) -> int:
        with trio.fail_after(PATIENCE):
            return await self.process.wait()


@asynccontextmanager
async def terminal(url: str, *arguments: str) -> AsyncGenerator[Terminal, None]:
    master, slave = pty.openpty()
    settings = termios.tcgetattr(slave)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, settings)
    environment = {**os.environ, "TERM": "dumb", "INPUTRC": "/dev/null"}
    # A process that takes the terminal for its own: Ctrl-C there is a signal to it.
    take = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    start = take + "os.execv(sys.executable, sys.argv[1:])"
    process = await trio.lowlevel.open_process(
        (sys.executable, "-c", start, *COMMAND, url, *arguments),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env=environment,
    )
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()
        os.close(master)


def asked(server: ScriptedUpstream, number: int) -> list[tuple[str, str]]:
    """What the model was given in that request."""
    messages = server.requests[number].json["messages"]
    return [(message["role"], message["content"]) for message in messages]


# On a terminal


async def test_a_conversation_on_a_terminal() -> None:
    scripts = [MODELS, says("Hello", " you"), says("You said ", "hi")]
    async with upstream(*scripts) as server, terminal(server.url, "--system", "Be brief") as user:
        await user.expect(f"m-1 at {server.url}")
        await user.expect("> ")
        await user.type("hi\r")
        await user.expect("Hello you\r\n")
        await user.expect("> ")
        await user.type("what did I say?\r")
        await user.expect("You said hi\r\n")
        await user.expect("> ")
        await user.type("\x04")
        assert await user.exit_code() == 0
    assert asked(server, 2) == [
        ("system", "Be brief"),
        ("user", "hi"),
        ("assistant", "Hello you"),
        ("user", "what did I say?"),
    ]


async def test_ctrl_c_stops_the_answer_and_its_request_then_leaves() -> None:
    scripts: list[Script | bytes] = [MODELS, says_a_little, says("again")]
    async with upstream(*scripts) as server, terminal(server.url) as user:
        await user.expect("> ")
        await user.type("go on\r")
        await user.expect("never ending")
        await user.interrupt()
        with trio.fail_after(1):
            await server.gone.wait()
        await user.expect("(stopped; once more, or Ctrl-D, to leave)")
        await user.expect("> ")
        await user.type("and?\r")
        await user.expect("again")
        await user.expect("> ")
        await user.interrupt()
        await user.expect("(once more, or Ctrl-D, to leave)")
        await user.interrupt()
        assert await user.exit_code() == 0
        assert "Traceback" not in user.shown
    assert asked(server, 2) == [("user", "go on"), ("assistant", "never ending"), ("user", "and?")]


async def test_ctrl_c_behind_a_stopped_answer_leaves() -> None:
    async with upstream(MODELS, says_a_little) as server, terminal(server.url) as user:
        await user.expect("> ")
        await user.type("go on\r")
        await user.expect("ending")
        await user.interrupt()
        await user.expect("> ")
        await user.interrupt()
        assert await user.exit_code() == 0


async def test_a_failure_is_a_line_and_the_conversation_goes_on() -> None:
    refusal = answer("401 Unauthorized", {"error": {"message": "bad \x1b[31mkey"}})
    broken = OPEN_ENDED + text("half an ") + data({"error": {"message": "out of memory"}})
    scripts = [MODELS, refusal, broken, says("fine")]
    async with upstream(*scripts) as server, terminal(server.url) as user:
        for expected in (
            "error: .* answered 401 Unauthorized: bad [31mkey; check the API key",
            "half an \r\nerror: .* failed in mid-answer: out of memory",
            "fine",
        ):
            await user.expect("> ")
            await user.type("hi\r")
            for part in expected.split(".*"):
                await user.expect(part)
        await user.expect("> ")
        await user.type("/quit\r")
        assert await user.exit_code() == 0
    assert asked(server, 3) == [("user", "hi"), ("assistant", "half an "), ("user", "hi")]


async def test_a_terminal_is_shown_reasoning_and_ends_and_no_control_characters() -> None:
    script = b"".join(
        [
            OPEN_ENDED,
            delta(reasoning_content="hm"),
            text("\x1b]0;owned\x07re\x9b31md\tok\n"),
            delta(tool_calls=[{"index": 0, "id": "1", "function": {"name": "no\x1bw"}}]),
            delta("length"),
        ]
    )
    async with upstream(MODELS, script) as server, terminal(server.url) as user:
        await user.expect("> ")
        await user.type("hi\r")
        shown = await user.expect("greatest length)")
        assert "hm\r\n]0;ownedre31md" in shown
        assert "\x1b" not in shown
        assert "(the model calls now, which nobody here can do)" in shown


async def test_the_commands() -> None:
    scripts = [MODELS, says("one"), says("two")]
    async with upstream(*scripts) as server, terminal(server.url) as user:
        for typed, expected in (
            ("/help", "Ctrl-C stops an answer."),
            ("/model", "* m-1\r\n  m-2"),
            ("/model m-3", "(from now on m-3)"),
            ("/nothing", "error: there is no /nothing; /help tells what there is"),
            ("//slash", "one"),
            ("/reset", "(forgotten)"),
            ("", "> "),
            ("Grüße", "two"),
        ):
            if typed != "Grüße":
                await user.expect("> ")
            await user.type(f"{typed}\r")
            await user.expect(expected)
        await user.expect("> ")
        await user.type("/quit\r")
        assert await user.exit_code() == 0
    assert asked(server, 1) == [("user", "/slash")]
    assert asked(server, 2) == [("user", "Grüße")]
    assert server.requests[2].json["model"] == "m-3"


# For scripts


async def test_each_line_of_a_script_is_a_question_and_only_answers_come_out() -> None:
    script = OPEN_ENDED + delta(reasoning_content="hm") + text("a\x1b[1m") + STOP
    async with upstream(MODELS, script, says("two\n")) as server:
        done = await run(server.url, given="eins\n\n  \nzwei")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\x1b[1m\ntwo\n", b"")
    assert asked(server, 2) == [("user", "eins"), ("assistant", "a\x1b[1m"), ("user", "zwei")]


async def test_the_first_failure_ends_a_script() -> None:
    refusal = answer("404 Not Found", {"error": {"message": "no such model", "code": "no_model"}})
    async with upstream(MODELS, says("one"), refusal) as server:
        done = await run(server.url, given="a\nb\nc\n")
    hint = "check the base URL, which mostly ends in /v1, and the model's name"
    assert done.returncode == 1
    assert done.stdout == b"one\n"
    line = f"error: {server.url} answered 404 Not Found: no such model; {hint}\n"
    assert done.stderr.decode() == line


async def test_input_that_is_no_text_is_asked_all_the_same() -> None:
    async with upstream(MODELS, says("ok")) as server:
        done = await run(server.url, given=b"\xff\xfe\n")
    assert (done.returncode, done.stdout) == (0, b"ok\n")
    assert asked(server, 1) == [("user", "\ufffd\ufffd")]


async def test_a_key_and_headers_are_sent_and_not_shown() -> None:
    refusal = answer("401 Unauthorized", {"error": {"message": "no such key: sk-secret"}})
    async with upstream(refusal) as server:
        done = await run(server.url, "--token", "sk-secret", "-H", "X-Org: o")
    assert server.requests[0].headers["authorization"] == "Bearer sk-secret"
    assert server.requests[0].headers["x-org"] == "o"
    assert done.returncode == 1
    assert b"no such key: [\xe2\x80\xa6]; check the API key" in done.stderr
    assert b"secret" not in done.stderr


async def test_a_url_without_a_path_is_tried_with_v1_first() -> None:
    async with upstream(MODELS, says("ok")) as server:
        done = await run(server.url.removesuffix("/v1"), given="hi")
        assert (done.returncode, done.stdout) == (0, b"ok\n")
    assert [request.line.split(" ")[1] for request in server.requests] == [
        "/v1/models",
        "/v1/chat/completions",
    ]
    async with upstream(answer("404 Not Found"), MODELS, says("ok")) as server:
        done = await run(server.url.removesuffix("/v1"), given="hi")
        assert (done.returncode, done.stdout) == (0, b"ok\n")
    assert [request.line.split(" ")[1] for request in server.requests] == [
        "/v1/models",
        "/models",
        "/chat/completions",
    ]


async def test_a_model_that_is_given_need_not_be_listed() -> None:
    async with upstream(says("ok")) as server:
        done = await run(server.url, "--model", "m-9", given="hi")
    assert (done.returncode, done.stdout) == (0, b"ok\n")
    assert server.requests[0].json["model"] == "m-9"


@pytest.mark.parametrize(
    ("url", "arguments", "problem"),
    [
        ("http://127.0.0.1:9", [], "can't be reached: Connection refused"),
        ("127.0.0.1:8000", [], "the URL must be like https://HOST/v1"),
        ("http://[x", [], "not a URL"),
        ("http://127.0.0.1:9", ["--token", "a\nb"], "the token must be printable ASCII"),
        ("http://127.0.0.1:9/v1", ["-H", "nothing"], "a header is like 'Name: value'"),
    ],
)
def test_what_is_wrong_is_a_line(url: str, arguments: list[str], problem: str) -> None:
    done = CliRunner().invoke(main, ["chat", url, *arguments], input="hi")
    assert done.exit_code in (1, 2)
    assert problem in done.stderr
    assert done.stderr.splitlines()[-1].lower().startswith("error: ")
    assert done.stdout == ""


async def test_no_models_is_a_line_that_says_what_to_do() -> None:
    async with upstream(answer("200 OK", {"data": []})) as server:
        done = await run(server.url, given="hi")
    assert done.stderr.decode() == f"error: {server.url} tells of no models; give --model\n"


# What is kept


def test_the_oldest_questions_go_with_their_answers() -> None:
    conversation = Conversation("be kind", max_messages=5, max_characters=100)
    for number in range(5):
        conversation.ask(f"q{number}")
        conversation.answered(f"a{number}")
    assert [message.text for message in conversation.messages] == [
        "be kind", "q2", "a2", "q3", "a3", "q4", "a4",
    ]  # fmt: skip
    conversation.ask("x" * 99)
    assert [message.text[:1] for message in conversation.messages] == ["b", "x"]


def test_a_question_without_an_answer_is_forgotten() -> None:
    conversation = Conversation()
    conversation.ask("hello?")
    conversation.answered("")
    assert conversation.messages == []


def test_only_line_ends_and_tabs_of_the_control_characters_are_shown() -> None:
    assert plain("a\x00\x1b\x07\r\n\t\x7f\x85\x9bß→") == "a\n\tß→"
