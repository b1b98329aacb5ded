"""The key of an event: what ``slow="conflate"`` keeps the newest event of. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

import msgspec

Key: TypeAlias = str | Callable[[Any], object]
"""A field's name, or a function of the data."""


class BadKey(ValueError):
    """Data that has no key where its topic has ``key=``."""


def key_of(key: Key | None, data: object) -> str | None:
    """The key of an event's data as text; None where the topic has no `key`.

    A field is looked up in a mapping, else it is an attribute. Raises `BadKey` where there is no
    such field, or the function fails.
    """
    if key is None:
        return None
    if not isinstance(key, str):
        try:
            return str(key(data))
        except Exception as error:
            raise BadKey(f"the key function failed: {type(error).__name__}: {error}") from error
    try:
        if isinstance(data, Mapping):
            return str(cast("Mapping[str, object]", data)[key])
        return str(getattr(data, key))
    except (KeyError, AttributeError):
        raise BadKey(f"key={key!r}: the data has no such field") from None


def fields_of(accepts: Any) -> tuple[str, ...] | None:
    """The names of a type's fields; None where it is no type with fields that are known."""
    try:
        info: Any = msgspec.inspect.type_info(accepts)
    except Exception:  # noqa: BLE001 - what can't be looked into is not checked here
        return None
    fields: Any = getattr(info, "fields", None)
    return None if fields is None else tuple(str(field.name) for field in fields)
