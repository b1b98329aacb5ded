"""JSON Schema of the types that topics accept."""

from __future__ import annotations

from typing import Any

import msgspec

import penstock as ps


def json_schema(accepts: Any) -> dict[str, Any]:
    """JSON Schema of a type; ``object`` is anything. Raises ``TypeError`` where there is none."""
    return msgspec.json.schema(accepts, schema_hook=_schema_of_object)


def _schema_of_object(kind: type) -> dict[str, Any]:
    if kind is object:
        return {"description": "any value"}  # msgspec takes an empty schema for none
    raise NotImplementedError(kind)  # msgspec then says that it doesn't know the type


def check_accepts(stage: str, accepts: Any, where: ps.Location | None) -> None:
    """Raise `PipelineError` for a type that publications can't be checked against."""
    try:
        json_schema(accepts)
    except (TypeError, ValueError) as error:
        raise ps.PipelineError(
            stage,
            f"accepts must be a dataclass, a TypedDict, a msgspec Struct or a built-in type that"
            f" JSON can hold: {error}",
            where,
        ) from error
