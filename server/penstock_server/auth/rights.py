"""Rights as data (a token's ``penstock`` claim, an entry of a key file) to a `Grant`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from ..grants import Grant

_PATTERN_FIELDS = ("subscribe", "publish", "jobs")
_MAX_PATTERNS = 1_000
_MAX_PATTERN = 256


class BadRights(ValueError):
    """The rights can't be understood; its text says which field is wrong, and how."""


def parse_rights(value: object, where: str) -> Grant:
    """The grant that `value` says: ``{"subscribe": [...], "publish": [...], "jobs": [...],
    "operate": bool}``, each of which may be absent; None is no rights at all.

    Fields with other names are ignored. `where` names the value in errors. Raises `BadRights`.
    """
    if value is None:
        return Grant()
    if not isinstance(value, Mapping):
        raise BadRights(f"{where} must be a map of rights")
    rights = cast("Mapping[str, Any]", value)
    operate: Any = rights.get("operate", False)
    if not isinstance(operate, bool):
        raise BadRights(f"{where}.operate must be true or false")
    subscribe, publish, jobs = (
        _patterns(rights.get(name), f"{where}.{name}") for name in _PATTERN_FIELDS
    )
    return Grant(subscribe=subscribe, publish=publish, jobs=jobs, operate=operate)


def parse_entry(value: object, where: str) -> Grant:
    """The grant of a configuration's entry: `parse_rights` with ``subject``, ``token_id`` and
    ``expires`` (seconds since 1970).

    A field that isn't known is refused here: it is a slip of the pen. Raises `BadRights`.
    """
    if isinstance(value, Grant):
        return value
    grant = parse_rights(value, where)
    entry = cast("Mapping[str, Any]", value or {})
    for field in entry:
        if field not in _ENTRY_FIELDS:
            raise BadRights(f"{where}: there is no field {field!r}; {', '.join(_ENTRY_FIELDS)} are")
    subject: Any = entry.get("subject", "")
    token_id: Any = entry.get("token_id", "")
    for field, text in (("subject", subject), ("token_id", token_id)):
        if not isinstance(text, str):
            raise BadRights(f"{where}.{field} must be text")
    expires: Any = entry.get("expires", grant.expires)
    if not isinstance(expires, int | float) or isinstance(expires, bool) or expires != expires:
        raise BadRights(f"{where}.expires must be a number of seconds since 1970")
    return replace(grant, expires=expires, subject=subject, token_id=token_id)


_ENTRY_FIELDS = (*_PATTERN_FIELDS, "operate", "subject", "token_id", "expires")


def _patterns(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise BadRights(f"{where} must be a list of patterns")
    patterns = cast("list[object] | tuple[object, ...]", value)
    if len(patterns) > _MAX_PATTERNS:
        raise BadRights(f"{where} must be at most {_MAX_PATTERNS} patterns")
    texts = tuple(each for each in patterns if isinstance(each, str))
    if len(texts) < len(patterns) or not all(1 <= len(text) <= _MAX_PATTERN for text in texts):
        raise BadRights(f"{where} must hold texts of 1 to {_MAX_PATTERN} characters only")
    return texts
