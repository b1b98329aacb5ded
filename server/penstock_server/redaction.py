"""Takes secrets out of text on its way into a log. Pure.

A token comes as ``Authorization: Bearer …``, as the cookie ``penstock_token`` or as ``?token=…``,
and gets into a log by way of a header, a URL or a repr of either. What is masked is wider than
that: a log that says too little can be mended, one that gave a token away can't. Each pattern takes
time in proportion to the text, whatever the text.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"

_QUOTED = r"""[bu]?(?:"[^"\r\n]*"?|'[^'\r\n]*'?)"""

_RULES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # The header in any writing: as it is on the wire (to the end of the line, for what a scheme
    # such as Digest says may hold spaces), in a dictionary, in ASGI's list of pairs.
    (
        re.compile(
            rf"""(authorization["']?[ \t]{{0,8}}[:=,][ \t]{{0,8}})(?:{_QUOTED}|[^\r\n]+)""",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"\b(bearer(?:[ +]|%20))[^\s\"',;]+", re.IGNORECASE), rf"\1{MASK}"),
    # token=…, penstock_token=…, access_token=… in a query, a cookie or a form.
    (re.compile(r"(token(?:=|%3d))[^\s&;,\"'#]+", re.IGNORECASE), rf"\1{MASK}"),
    # "token": "…" in JSON or the repr of a dictionary.
    (
        re.compile(rf"""(token["'][ \t]{{0,8}}[:,][ \t]{{0,8}}){_QUOTED}""", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    # Whatever looks like a JWT, wherever it stands.
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]++(?:\.[\w-]*+)?"), MASK),
)

_SECRET_KEY = re.compile(r"authorization|cookie|token$|password|secret|api_?key", re.IGNORECASE)


def redact(text: str) -> str:
    """The text with ``***`` in place of bearer tokens, ``token=`` parameters, ``penstock_token``
    cookies and whatever follows ``Authorization``.
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def names_a_secret(key: str) -> bool:
    """Whether a field of this name holds something that is not to be logged."""
    return _SECRET_KEY.search(key) is not None
