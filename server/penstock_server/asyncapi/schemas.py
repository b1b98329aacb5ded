"""JSON Schemas from many types in one place, ``components/schemas``, each under a name of its own.

A JSON Schema of one type holds the types within it under ``$defs``, which stands on its own; in an
AsyncAPI document they have to move, and two topics' types may share a name without being the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

Schema: TypeAlias = dict[str, Any]

_LOCAL: Final = "#/$defs/"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")


def reference(kind: str, name: str) -> dict[str, str]:
    """A reference to a component: ``schemas``, ``messages`` and so on."""
    return {"$ref": f"#/components/{kind}/{name}"}


def component_name(text: str) -> str:
    """The text as a name that AsyncAPI takes."""
    return _NOT_IN_NAMES.sub("_", text)


class Schemas:
    """The schemas of a document. What is the same is there once.

    Attributes:
        components: by name, for ``components/schemas``.
    """

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._meanings: dict[str, str] = {}

    def add(self, schema: Mapping[str, Any], scope: str) -> Schema:
        """Move what `schema` holds under ``$defs`` to the components; gives what is left of it,
        with references to there. `scope` goes before a name that another type has already.
        """
        definitions: dict[str, Schema] = schema.get("$defs", {})
        names = {
            local: self._name(component_name(local), scope, _meaning(local, definitions))
            for local in definitions
        }
        for local, definition in definitions.items():
            self.components[names[local]] = _moved(definition, names)
        rest = {key: value for key, value in schema.items() if key != "$defs"}
        return cast("Schema", _moved(rest, names))

    def put(self, name: str, schema: Schema) -> str:
        """Add a schema under a name; gives the name, which has a number where it was taken."""
        name = self._name(component_name(name), "", json.dumps(schema, sort_keys=True))
        self.components[name] = schema
        return name

    def _name(self, name: str, scope: str, meaning: str) -> str:
        """A name that is free, or has this very meaning already."""
        candidates = self._candidates(name, component_name(scope))
        free = next(each for each in candidates if self._meanings.get(each, meaning) == meaning)
        self._meanings[free] = meaning
        return free

    @staticmethod
    def _candidates(name: str, scope: str) -> Iterator[str]:
        yield name
        if scope:
            name = f"{scope}.{name}"
            yield name
        number = 2
        while True:
            yield f"{name}-{number}"
            number += 1


def _meaning(local: str, definitions: Mapping[str, Schema]) -> str:
    """A definition and all that it leads to, as text that is equal for equal types."""
    reached = {local: definitions[local]}
    waiting = [definitions[local]]
    while waiting:
        for name in _references(waiting.pop()):
            if name not in reached and name in definitions:
                reached[name] = definitions[name]
                waiting.append(definitions[name])
    return json.dumps(reached, sort_keys=True)


def _references(value: object) -> Iterator[str]:
    """The local names that a schema refers to."""
    if isinstance(value, dict):
        for key, each in cast("dict[str, object]", value).items():
            if key == "$ref" and isinstance(each, str) and each.startswith(_LOCAL):
                yield each.removeprefix(_LOCAL)
            else:
                yield from _references(each)
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            yield from _references(each)


def _moved(value: object, names: Mapping[str, str]) -> Any:
    """A schema in AsyncAPI's dialect, with its references to where the types are now."""
    if isinstance(value, list):
        return [_moved(each, names) for each in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    moved: Schema = {}
    for key, each in _as_draft_7(cast("Schema", value)).items():
        if key == "$ref" and isinstance(each, str) and each.startswith(_LOCAL):
            name = each.removeprefix(_LOCAL)
            moved[key] = f"#/components/schemas/{names.get(name, name)}"
        else:
            moved[key] = _moved(each, names)
    return moved


def _as_draft_7(schema: Schema) -> Schema:
    """What JSON Schema 2020-12 says otherwise than draft 7, on which AsyncAPI builds.

    A tuple's items have another name. OpenAPI's discriminator, an object, goes: the tags of a
    union's types are in their schemas too.
    """
    changed = dict(schema)
    if isinstance(changed.get("prefixItems"), list):
        if "items" in changed:
            changed["additionalItems"] = changed.pop("items")
        changed["items"] = changed.pop("prefixItems")
    discriminator = changed.get("discriminator")
    if isinstance(discriminator, dict) and "propertyName" in discriminator:
        del changed["discriminator"]
    return changed
