"""The bounds in the schemas of bodies are those that the service enforces: at each edge, both decide alike."""

import json
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.support.builders import new_fact
from tests.support.service import ROOT

COMPONENTS = json.loads((ROOT / "openapi" / "openapi.json").read_text())["components"]
REFUSED = {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
TEXTS = ("", " ", "x", "x ", "ä", "a b", "a/b", "x\x01", "x\u2028y", "*", "a.*", "1:1", "start", "head", "1.0")
KEYS = ("key", "k:v", "", "ä")
EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "T", "namespace": "n"}
# Keyed by the name of a schema: the path that takes it, and the body around such an object.
BODIES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "NewFactBody": ("/v1/facts", lambda fact: {"facts": [fact]}),
    "PublishBody": ("/v1/facts", lambda body: body),
    "ConditionBody": ("/v1/facts", lambda condition: {"facts": [new_fact()], "condition": condition}),
    "ConditionItemBody": ("/v1/facts", lambda item: {"facts": [new_fact()], "condition": {"fail_if_match": [item]}}),
    "QueryBody": ("/v1/facts/search", lambda query: query),
    "QueryItemBody": ("/v1/facts/search", lambda item: {"items": [item]}),
    "CloudEvent": ("/v1/facts/cloudevents", lambda event: event),
}
VALID: dict[str, dict[str, Any]] = {
    "NewFactBody": new_fact(),
    "PublishBody": {"facts": [new_fact()]},
    "ConditionBody": {"fail_if_match": [{"types": ["Never"]}]},
    "ConditionItemBody": {"types": ["Never"]},
    "QueryBody": {},
    "QueryItemBody": {},
    "CloudEvent": EVENT,
}
# Not a question of the member alone: these need a service with keys, texts that are JSON, or are for answers.
OTHERWISE = {"data_subject", "factsubject", "factaggregateids", "factmeta", "factposition", "factpublishedat", "time"}
OTHERWISE |= {"data_base64", "datacontenttype", "dataschema", "source", "payload", "data"}


PARTS = {("PublishBody", "condition"), ("PublishBody", "acknowledge")}  # bodies of their own


def cases() -> Iterator[tuple[str, str]]:
    for name in BODIES:
        for member in COMPONENTS["schemas"][name]["properties"]:
            if member not in OTHERWISE and (name, member) not in PARTS:
                yield name, member


@pytest.mark.parametrize(("name", "member"), [*cases()])
async def test_the_document_and_the_service_agree_at_each_edge(
    client: httpx.AsyncClient, name: str, member: str
) -> None:
    schema = COMPONENTS["schemas"][name]
    validator = jsonschema.Draft202012Validator({**schema, "components": COMPONENTS})
    path, body_around = BODIES[name]
    decided = set()
    for value in edges(resolved(schema["properties"][member])):
        given = {**VALID[name], member: value}
        if member == "fail_unless_match":
            del given["fail_if_match"]
        if name == "CloudEvent" and member != "id":
            given["id"] = str(uuid4())
        fits = validator.is_valid(given)
        media_type = "application/cloudevents+json" if name == "CloudEvent" else "application/json"
        content = json.dumps(body_around(given))
        answer = await client.post(path, content=content, headers={"content-type": media_type})
        assert (answer.status_code not in REFUSED) == fits, (str(value)[:80], answer.text)
        decided.add(fits)
    assert decided == {True, False}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return resolved(COMPONENTS["schemas"][schema["$ref"].rpartition("/")[2]])
    found: dict[str, Any] = schema
    return found


def edges(schema: dict[str, Any]) -> Iterator[Any]:
    """Values at both sides of each bound of a schema, and of those within it."""
    match schema:
        case {"oneOf": choices}:
            for choice in choices:
                yield from edges(choice)
        case {"type": "string"}:
            length = schema.get("maxLength", 30)
            yield from (*TEXTS, "x" * length, "x" * (length + 1), str(uuid4()))
        case {"type": "integer"}:
            yield from (schema.get("minimum", 1), schema.get("minimum", 0) - 1)
            yield from (schema["maximum"], schema["maximum"] + 1) if "maximum" in schema else ()
        case {"type": "array"}:
            yield from edges_of_array(schema["maxItems"], resolved(schema["items"]))
        case {"type": "object", "additionalProperties": values}:
            yield from edges_of_map(schema.get("maxProperties", 0), resolved(values))


def edges_of_array(most: int, within: dict[str, Any]) -> Iterator[list[Any]]:
    yield []
    if within["type"] == "string":
        yield from ([edge] for edge in edges(within))
    for count in (1, most, most + 1):
        yield [value_of(within, number) for number in range(count)]


def value_of(schema: dict[str, Any], number: int) -> Any:
    match schema.get("title"):
        case None:
            return f"v{number}"
        case "NewFactBody":
            return new_fact()
    return {"types": [f"T{number}"]}


def edges_of_map(most: int, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from ({key: "v"} for key in KEYS)
    yield from ({f"k{each}": "v" for each in range(count)} for count in (0, most, most + 1))
    # A query may have more values of a key than a fact: the schema that they share has the larger bound.
    yield from ({"ce-key": value} for value in edges(values) if isinstance(value, str) or len(value) <= 1)
