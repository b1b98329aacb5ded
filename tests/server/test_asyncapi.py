"""The AsyncAPI document is valid, whole, and true of what the server sends."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_server import Server
from penstock_server.asyncapi import Address, Topic, asyncapi_document
from penstock_server.operations import described_topics
from penstock_server.schemas import json_schema

from .asgi_driver import HOST, serving

SCHEMA = Path(sys.prefix, "npm/node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json")
JSON = {"content-type": "application/json"}
BEARER = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


@dataclass
class Person:
    """Somebody."""

    name: str
    friends: list["Person"]
    home: "Place | None" = None


@dataclass
class Place:
    town: str


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    tricks: list[str]


PET: Any = Cat | Dog


class Reading(TypedDict):
    value: float


@pytest.fixture(scope="module")
def specification() -> Any:
    assert SCHEMA.exists(), (
        f"{SCHEMA} is not there; scripts/test installs it (see scripts/_venv.sh)"
    )
    return json.loads(SCHEMA.read_text())


def make() -> Server:
    server = Server("Test bench")
    server.topic("people", accepts=Person)
    server.topic("pets", accepts=PET)
    server.topic("readings", accepts=Reading)
    server.topic("anything", accepts=object)
    server.topic("lines", accepts=str, encoding="text")
    server.topic("read-only")
    server.topic("room.{room}", accepts=Person)
    server.topic("a.{b}.c-{d}", accepts=list[Place])
    server.topic("websocket", accepts=int)
    server.topic("pairs", accepts=tuple[int, Place])
    return server


def document_of(server: Server, **options: Any) -> Any:
    document = asyncapi_document(
        server.title, "1.0", Address("example.org"), described_topics(server.hub), **options
    )
    return json.loads(msgspec.json.encode(document))


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref":
                yield each
            else:
                yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def resolve(document: Any, reference: str) -> Any:
    assert reference.startswith("#/"), reference
    for part in reference[2:].split("/"):
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


def check(specification: Any, document: Any) -> None:
    jsonschema.Draft7Validator(specification).validate(document)
    found = list(references(document))
    assert found
    for reference in found:
        resolve(document, reference)
    names = [name for kind in document["components"].values() for name in kind]
    assert all(re.fullmatch(r"[\w.-]+", name, re.ASCII) for name in names)


def accepts(document: Any, message: str, value: Any) -> bool:
    """Whether a value is what the document says of a message."""
    schema = {"$ref": f"#/components/messages/{message}/payload", **document}
    return jsonschema.Draft7Validator(schema).is_valid(value)


async def test_it_is_valid(specification: Any) -> None:
    document = document_of(make())
    check(specification, document)
    assert document["asyncapi"] == "3.0.0"
    assert document["info"] == {"title": "Test bench", "version": "1.0"}
    assert set(document["channels"]) == {
        *("people", "pets", "readings", "anything", "lines", "read-only", "pairs"),
        *("room._room_", "a._b_.c-_d_", "websocket_", "websocket"),
    }


async def test_a_server_without_topics_is_valid_too(specification: Any) -> None:
    check(specification, document_of(Server()))


async def test_channels_and_operations() -> None:
    document = document_of(make())
    people = document["channels"]["people"]
    assert people["address"] == "/topics/people"
    assert "parameters" not in people
    operations = document["operations"]
    assert operations["people.read"]["action"] == "send"
    assert operations["people.read"]["bindings"]["http"]["method"] == "GET"
    assert operations["people.publish"]["action"] == "receive"
    assert "read-only.publish" not in operations
    assert operations["websocket.send"]["channel"] == {"$ref": "#/channels/websocket"}
    # An operation's messages are its channel's, as AsyncAPI demands.
    for operation in operations.values():
        channel = operation["channel"]["$ref"]
        for message in operation["messages"]:
            assert message["$ref"].startswith(f"{channel}/messages/")


async def test_a_template_has_parameters() -> None:
    document = document_of(make())
    room = document["channels"]["room._room_"]
    assert room["address"] == "/topics/room.{room}"
    assert set(room["parameters"]) == {"room"}
    assert set(document["channels"]["a._b_.c-_d_"]["parameters"]) == {"b", "d"}


async def test_instances_of_a_template_are_not_listed(specification: Any) -> None:
    server = make()
    before = document_of(server)
    assert server.hub.find("room.42") is not None
    assert document_of(server) == before


async def test_servers_and_security(specification: Any) -> None:
    schemes = {"bearer": BEARER, "cookie": {"type": "httpApiKey", "name": "t", "in": "cookie"}}
    document = document_of(make(), security=schemes)
    check(specification, document)
    assert document["components"]["securitySchemes"] == schemes
    for server in document["servers"].values():
        assert server["security"] == [
            {"$ref": "#/components/securitySchemes/bearer"},
            {"$ref": "#/components/securitySchemes/cookie"},
        ]
    secure = asyncapi_document("t", "1", Address("a:1", secure=True), [])["servers"]
    assert [(each["protocol"], each["host"]) for each in secure.values()] == [
        ("https", "a:1"),
        ("wss", "a:1"),
    ]


@pytest.mark.parametrize("host", ["{evil}", "a/b", "", "x" * 300, "a b", '"'])
def test_a_host_that_is_none(host: str) -> None:
    assert asyncapi_document("t", "1", Address(host), [])["servers"]["http"]["host"] == "localhost"


async def test_payloads_are_the_topics_types() -> None:
    document = document_of(make())
    ann = {"name": "Ann", "friends": [{"name": "Bo", "friends": []}], "home": {"town": "Ulm"}}
    assert accepts(document, "people.publication", ann)
    assert not accepts(document, "people.publication", {**ann, "friends": [{"name": 3}]})
    assert not accepts(document, "people.publication", {**ann, "home": {"town": 1}})
    assert accepts(document, "pets.publication", {"type": "cat", "lives": 9})
    assert not accepts(document, "pets.publication", {"type": "cat", "tricks": []})
    assert accepts(document, "anything.publication", [None, {"x": 1}])
    assert accepts(document, "pairs.publication", [1, {"town": "Ulm"}])
    assert not accepts(document, "pairs.publication", [1, {"town": "Ulm"}, 2])
    assert not accepts(document, "pairs.publication", ["x", {"town": "Ulm"}])
    assert accepts(document, "lines.publication", "a line")
    assert not accepts(document, "lines.publication", 1)
    room = {"type": "publish", "topic": "room.42", "data": ann, "ref": 1}
    assert accepts(document, "room._room_.publish", room)
    assert not accepts(document, "room._room_.publish", {**room, "topic": "hall.42"})
    assert not accepts(document, "room._room_.publish", {**room, "topic": "room.4.2"})


async def test_types_of_one_name_are_kept_apart(specification: Any) -> None:
    def other() -> Any:
        @dataclass
        class Place:
            metres: int

        return Place

    server = Server()
    server.topic("towns", accepts=Place)
    server.topic("heights", accepts=other())
    server.topic("more", accepts=list[Place])
    document = document_of(server)
    check(specification, document)
    assert accepts(document, "towns.publication", {"town": "Ulm"})
    assert not accepts(document, "towns.publication", {"metres": 1})
    assert accepts(document, "heights.publication", {"metres": 1})
    assert not accepts(document, "heights.publication", {"town": "Ulm"})
    # What is the same is there once.
    places = [name for name in document["components"]["schemas"] if "Place" in name]
    assert sorted(places) == ["Place", "heights.Place"]


async def test_it_is_true_of_what_the_server_sends() -> None:
    server = make()
    ann = {"name": "Ann", "friends": []}
    async with serving(server) as driver:
        _, body = await driver.fetch("GET", "/asyncapi.json")
        document = json.loads(body)
        for topic in ("people", "room.42"):
            await driver.fetch("POST", f"/topics/{topic}", JSON, json.dumps(ann).encode())
            accept = {"accept": "application/x-ndjson"}
            target = f"/topics/{topic}?after=earliest"
            async with driver.request("GET", target, accept) as response:
                (subscribed,) = await response.lines()
                (event,) = await response.lines()
            name = "people" if topic == "people" else "room._room_"
            assert accepts(document, "subscribed", subscribed)
            assert accepts(document, f"{name}.event", event)
            assert not accepts(document, "gap", event)
            assert not accepts(document, "pets.event", event)
        async with driver.websocket() as websocket:
            hello = await websocket.receive()
            await websocket.send({"type": "ping", "ref": 1}, {"type": "nonsense"})
            pong, error = await websocket.receive_many(2)
    assert accepts(document, "hello", hello)
    assert accepts(document, "pong", pong)
    assert accepts(document, "error", error)
    assert not accepts(document, "error", pong)


async def test_the_route(specification: Any) -> None:
    async with serving(make()) as driver:
        response, body = await driver.fetch("GET", "/asyncapi.json")
    assert response.headers["content-type"] == "application/json"
    document = json.loads(body)
    check(specification, document)
    assert document["info"]["title"] == "Test bench"
    assert document["servers"]["http"] == {"host": HOST, "protocol": "http"}


NAMES = st.from_regex(r"[A-Za-z0-9._{}-]{1,12}", fullmatch=True)
TYPES = st.sampled_from([Person, Place, Cat | Dog, list[Person], dict[str, Place], object, int])


@given(st.dictionaries(NAMES, st.tuples(TYPES, st.booleans()), max_size=8))
def test_any_topics_make_a_whole_document(topics: dict[str, tuple[Any, bool]]) -> None:
    described = [
        Topic(name, json_schema(type_), publishable)
        for name, (type_, publishable) in topics.items()
    ]
    document = asyncapi_document("t", "1", Address("a"), described)
    for reference in references(document):
        resolve(document, reference)
    assert len(document["channels"]) == len(topics) + 1
    publishable = sum(each for _, each in topics.values())
    assert len(document["operations"]) == len(topics) + publishable + 2
