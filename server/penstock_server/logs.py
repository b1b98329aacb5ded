"""How the server's process writes its log: one record a line, as text or as JSON, without secrets.

Both formats take every record of the process: the server's own, Hypercorn's, the application's,
warnings, and what ends a thread or the process. A client chooses names and addresses that get into
messages, so control characters are escaped and what follows a line end is indented: no message can
look like a record of its own.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, Literal, TextIO, TypeAlias, cast

from .redaction import MASK, names_a_secret, redact

LogFormat: TypeAlias = Literal["text", "json"]

#: The most characters of a message, or of a field. A traceback may have four times as many.
MAX_TEXT: Final = 16_384
_MAX_ITEMS = 64
_MAX_DEPTH = 4

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_OWN_FIELDS = frozenset({"time", "level", "logger", "message", "exception"})
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(level: str, format_: LogFormat, stream: TextIO | None = None) -> None:
    """Write the whole process's log to `stream` (standard error), from `level` (``info``) up.

    For the command line: it sets the root logger, and takes over warnings and, as JSON, what Python
    would print of an exception that nobody caught.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if format_ == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    if format_ == "json":
        _log_uncaught()


class TextFormatter(logging.Formatter):
    """``time LEVEL logger: message``, for people. Times are UTC; further lines are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        lines = [_message(record)]
        exception = _exception(record)
        if exception is not None:
            lines.append(exception)
        text = _escape("\n".join(lines)).replace("\n", "\n    ")
        return f"{rfc3339(record.created)} {record.levelname} {record.name}: {text}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, the
    fields given as ``extra``, and ``exception`` where there is one. ASCII only.

    A field of the application's that has one of these names gets ``extra_`` in front of it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        fields: dict[str, Any] = {
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        for key, value in vars(record).items():
            if key not in _RECORD_FIELDS:
                name = f"extra_{key}" if key in _OWN_FIELDS else key
                fields[name] = MASK if names_a_secret(key) else _plain(value)
        exception = _exception(record)
        if exception is not None:
            fields["exception"] = exception
        # What is not ASCII is escaped, and with it all that a terminal or a reader may take for a
        # line end; JSON itself escapes the rest, but for DEL.
        return json.dumps(fields, allow_nan=False).replace("\x7f", "\\u007f")


def rfc3339(seconds: float) -> str:
    """A time, in seconds since 1970, as RFC 3339 has it, to the millisecond, in UTC."""
    whole, thousandths = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{thousandths:03}Z"


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 - arguments that don't fit; say what there is
        message = f"{record.msg!s} {record.args!r} (not formatted: {error})"
    return _cut(redact(message.rstrip()), MAX_TEXT)


def _exception(record: logging.LogRecord) -> str | None:
    parts: list[str] = []
    if record.exc_info is not None and record.exc_info[0] is not None:
        parts += traceback.format_exception(*record.exc_info)
    elif record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(record.stack_info)
    return _cut(redact("".join(parts).rstrip()), 4 * MAX_TEXT) if parts else None


def _cut(text: str, most: int) -> str:
    """The text, or its beginning and its end: where a traceback says what it was about."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters … {text[-half:]}"


def _escape(text: str) -> str:
    """Control characters as Python writes them, but for the line end; and what UTF-8 can't say."""
    text = _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return text.encode(errors="backslashreplace").decode()


def _plain(value: object, depth: int = 0) -> Any:
    """A field as JSON can hold it, without secrets, of bounded size."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        items = list(cast("Mapping[object, object]", value).items())[:_MAX_ITEMS]
        return {
            redact(str(key)): MASK if names_a_secret(str(key)) else _plain(each, depth + 1)
            for key, each in items
        }
    if depth < _MAX_DEPTH and isinstance(value, list | tuple):
        each_of = cast("list[object] | tuple[object, ...]", value)[:_MAX_ITEMS]
        return [_plain(each, depth + 1) for each in each_of]
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001 - a record must not fail for one of its fields
        text = f"{type(value).__name__} (not shown: {error})"
    return _cut(redact(text), MAX_TEXT)


def _log_uncaught() -> None:
    """Log what Python would otherwise print in several lines."""
    logger = logging.getLogger("penstock.uncaught")

    def of_process(kind: Any, error: Any, trace: Any) -> None:
        logger.critical("an exception ends the process", exc_info=(kind, error, trace))

    def of_thread(uncaught: threading.ExceptHookArgs) -> None:
        if uncaught.exc_value is not None:
            exc_info = (uncaught.exc_type, uncaught.exc_value, uncaught.exc_traceback)
            logger.critical("an exception ends a thread", exc_info=exc_info)

    def unraisable(lost: Any) -> None:
        logger.error(
            "%s: %r", lost.err_msg or "an exception that could not be raised", lost.object,
            exc_info=(lost.exc_type, lost.exc_value, lost.exc_traceback),
        )  # fmt: skip

    sys.excepthook = of_process
    sys.unraisablehook = unraisable
    threading.excepthook = of_thread
