"""One record is one line, in both formats, whatever is in it; and no secret is."""

import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_server.logs import (
    MAX_TEXT,
    JsonFormatter,
    TextFormatter,
    configure_logging,
    rfc3339,
)

EVIL = "a\r\nb\x1b[31m\x00\x7f\x85\u2028 2026-01-01T00:00:00.000Z ERROR forged: yes"
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def record(message: object, *args: object, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("some.where", logging.WARNING, "file.py", 1, message, args, None)
    made.__dict__.update(fields)
    return made


def as_json(made: logging.LogRecord) -> Any:
    line = JsonFormatter().format(made)
    assert line.isascii()
    assert line.isprintable()
    return json.loads(line)


def failed() -> Any:
    try:
        raise ValueError("no\nluck with token=s3cr3t")
    except ValueError:
        return sys.exc_info()


# JSON


def test_the_fields() -> None:
    made = as_json(record("topic %s: %d", "chat", 3, topic="chat", seconds=0.5, ok=True))
    assert re.fullmatch(STAMP, made.pop("time"))
    assert made == {
        "level": "warning",
        "logger": "some.where",
        "message": "topic chat: 3",
        "topic": "chat",
        "seconds": 0.5,
        "ok": True,
    }


def test_a_time_is_rfc_3339() -> None:
    assert rfc3339(0.9996) == "1970-01-01T00:00:00.999Z"
    assert rfc3339(1_800_000_000.25) == "2027-01-15T08:00:00.250Z"


def test_an_exception_is_a_field() -> None:
    made = as_json(record("it failed", exc_info=failed()))
    assert made["message"] == "it failed"
    assert made["exception"].startswith("Traceback (most recent call last):\n")
    assert made["exception"].endswith("token=***")


def test_values_that_json_has_not() -> None:
    class Unfriendly:
        def __str__(self) -> str:
            raise RuntimeError("no")

    nested: Any = {"a": {"b": {"c": {"d": {"e": 1}}}}}
    made = as_json(
        record(
            "x",
            bad=nan,
            worse=[inf, {"k": {1}}],
            unfriendly=Unfriendly(),
            nested=nested,
            many=list(range(1000)),
            lone="\ud800",
            raw=b"\xff",
        )
    )
    assert (made["bad"], made["worse"]) == ("nan", ["inf", {"k": "{1}"}])
    assert made["unfriendly"] == "Unfriendly (not shown: no)"
    assert made["nested"]["a"]["b"]["c"]["d"] == "{'e': 1}"
    assert len(made["many"]) == 64
    assert (made["lone"], made["raw"]) == ("\ud800", "b'\\xff'")


def test_secrets_in_fields() -> None:
    made = as_json(
        record(
            "Authorization: Bearer s3cr3t",
            headers={"authorization": "Bearer s3cr3t", "accept": "*/*"},
            url="/topics/a?token=s3cr3t",
            cookie="s3cr3t",
            pairs=[("x", "penstock_token=s3cr3t")],
        )
    )
    assert "s3cr3t" not in json.dumps(made)
    assert made["headers"] == {"authorization": "***", "accept": "*/*"}
    assert made["pairs"] == [["x", "penstock_token=***"]]


def test_fields_that_have_our_names() -> None:
    made = as_json(record("x", level="mine", time=5, exception="none"))
    assert made["level"] == "warning"
    assert (made["extra_level"], made["extra_time"], made["extra_exception"]) == ("mine", 5, "none")


def test_arguments_that_do_not_fit() -> None:
    assert "%d things" in as_json(record("%d things", "three"))["message"]


def test_a_message_is_bounded() -> None:
    message = as_json(record("<" + "x" * 1_000_000 + ">"))["message"]
    assert len(message) < MAX_TEXT + 100
    assert (message[0], message[-1]) == ("<", ">")
    assert "characters" in message


@given(st.text(), st.text())
def test_any_text_is_one_line_of_json(message: str, field: str) -> None:
    assert as_json(record("%s", message, field=field))["logger"] == "some.where"


# Text


def test_text() -> None:
    line = TextFormatter().format(record("topic %s", "chat"))
    assert re.fullmatch(rf"{STAMP} WARNING some\.where: topic chat", line)


def test_no_message_looks_like_a_record() -> None:
    said = TextFormatter().format(record(EVIL, exc_info=failed()))
    first, *others = said.split("\n")
    assert re.match(STAMP, first)
    assert others
    assert all(line.startswith("    ") for line in others)
    assert said.replace("\n", "").isprintable()
    assert "s3cr3t" not in said


def test_text_that_utf8_has_not() -> None:
    assert TextFormatter().format(record("\ud800 größer")).endswith("\\ud800 größer")


# The process


@pytest.fixture
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    hooks = sys.excepthook, sys.unraisablehook
    yield
    sys.excepthook, sys.unraisablehook = hooks
    import threading

    threading.excepthook = threading.__excepthook__
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("logging_restored")
def test_everything_of_the_process_goes_there() -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    logging.getLogger("hypercorn.error").warning("from %s", "hypercorn")
    logging.getLogger("anything").debug("too little")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old\nhabits", UserWarning, stacklevel=1)
    sys.excepthook(*failed())
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(each["logger"], each["level"]) for each in said] == [
        ("hypercorn.error", "warning"),
        ("py.warnings", "warning"),
        ("penstock.uncaught", "critical"),
    ]
    assert "UserWarning: old\nhabits" in said[1]["message"]
    assert "ValueError: no\nluck with token=***" in said[2]["exception"]


@pytest.mark.usefixtures("logging_restored")
def test_as_text_python_says_itself_what_ends_it() -> None:
    before = sys.excepthook
    stream = io.StringIO()
    configure_logging("warning", "text", stream)
    logging.getLogger("x").info("too little")
    logging.getLogger("x").warning("enough")
    assert stream.getvalue().endswith(" WARNING x: enough\n")
    assert stream.getvalue().count("\n") == 1
    assert sys.excepthook is before
