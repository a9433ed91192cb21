"""One corpus of facts, and queries over it with the facts that they match; every way to read must agree."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.conformance.wire import Json, fact, head_cursor, ids_of, publish, unique

# Values that break a store which builds its statements, or its tags, out of text.
AWKWARD_VALUES = [
    "it's",
    "x' or '1'='1",
    "'; drop table facts; --",
    '"quoted"',
    "back\\slash",
    "100%_",
    "{braces,commas}",
    "$1",
    "key:value:more",
    "a b\u00a0c",
    "naïve ☃ 🦊",
    "null",
    "a&b=c+d#e?f/g",
]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Published facts by label, in names that no other test uses, and the cursor before them."""

    token: str
    before: str
    ids: dict[str, str]

    def items(self, template: list[Json]) -> list[Json]:
        """The template's items in this corpus's own names."""
        items: list[Json] = json.loads(json.dumps(template).replace("~", f"{self.token}-"))
        return items

    def labels(self, ids: list[str]) -> list[str]:
        names = {id_: label for label, id_ in self.ids.items()}
        return [names[id_] for id_ in ids if id_ in names]


@dataclass(frozen=True, slots=True)
class Query:
    items: list[Json]
    matches: str


# Every `~` becomes a token of the test's own.
_FACTS: dict[str, Json] = {
    "a": fact("~shop", "~Placed", aggregate_ids=["~o1"], meta={"tenant": "~x"}),
    "b": fact("~shop", "~Paid", aggregate_ids=["~o1", "~c1"], meta={"tenant": "~x", "label": ["~p", "~q"]}),
    "c": fact("~shop", "~Placed", aggregate_ids=["~o2", "~c1"], meta={"tenant": "~y", "label": ["~q"]}),
    "d": fact("~bank", "~Paid", aggregate_ids=["~c1"], meta={"tenant": "~x", "label": ["~q", "~p", "~r"]}),
    "e": fact("~bank", "~Booked"),
    "f": fact("~bank", "~Booked", version=2, aggregate_ids=["tenant:~x", "~shop/~Placed"], meta={"other": "~o1"}),
}

QUERIES = {
    "namespace": Query([{"namespaces": ["~shop"]}], "abc"),
    "namespaces-are-or": Query([{"namespaces": ["~shop", "~bank"]}], "abcdef"),
    "type": Query([{"types": ["~Paid"]}], "bd"),
    "types-are-or": Query([{"types": ["~Paid", "~Booked"]}], "bdef"),
    "type-in-its-namespace": Query([{"namespaces": ["~bank"], "types": ["~Paid"]}], "d"),
    "type-of-another-namespace": Query([{"namespaces": ["~bank"], "types": ["~Placed"]}], ""),
    "aggregate-id": Query([{"aggregate_ids": ["~c1"]}], "bcd"),
    "aggregate-ids-are-and": Query([{"aggregate_ids": ["~o1", "~c1"]}], "b"),
    "aggregate-ids-are-a-set": Query([{"aggregate_ids": ["~c1", "~o1", "~c1"]}], "b"),
    "aggregate-id-is-no-prefix": Query([{"aggregate_ids": ["~o"]}], ""),
    "meta": Query([{"meta": {"tenant": "~x"}}], "abd"),
    "meta-pairs-are-and": Query([{"meta": {"tenant": "~x", "label": "~q"}}], "bd"),
    "meta-of-several-values": Query([{"meta": {"label": "~q"}}], "bcd"),
    "meta-values-of-one-key-are-and": Query([{"meta": {"label": ["~q", "~r"]}}], "d"),
    "meta-key-counts": Query([{"meta": {"other": "~x"}}], ""),
    "kinds-are-and": Query([{"types": ["~Paid"], "aggregate_ids": ["~c1"], "meta": {"label": "~r"}}], "d"),
    "kinds-never-imitate-another": Query([{"aggregate_ids": ["tenant:~x"]}], "f"),
    "nothing-matches": Query([{"aggregate_ids": ["~unheard-of"]}], ""),
}

# What takes more than one item, so it needs `query=` or a body.
QUERIES_OF_ITEMS = {
    "items-are-or": Query([{"aggregate_ids": ["~o2"]}, {"types": ["~Booked"]}], "cef"),
    "items-that-overlap": Query([{"aggregate_ids": ["~o1"]}, {"meta": {"tenant": "~x"}}], "abd"),
    "and-inside-or-between": Query(
        [{"namespaces": ["~shop"], "types": ["~Paid"]}, {"namespaces": ["~bank"], "aggregate_ids": ["~c1"]}], "bd"
    ),
    "one-item-matches-nothing": Query([{"aggregate_ids": ["~unheard-of"]}, {"aggregate_ids": ["~o2"]}], "c"),
    "items-of-every-kind": Query(
        [{"types": ["~Placed"]}, {"meta": {"label": "~r"}}, {"aggregate_ids": ["~shop/~Placed"]}], "acdf"
    ),
}

every_query = pytest.mark.parametrize(
    "query", [pytest.param(query, id=name) for name, query in (QUERIES | QUERIES_OF_ITEMS).items()]
)
every_query_of_parameters = pytest.mark.parametrize(
    "query", [pytest.param(query, id=name) for name, query in QUERIES.items()]
)
every_awkward_value = pytest.mark.parametrize("value", AWKWARD_VALUES)


async def publish_corpus(client: httpx.AsyncClient, token: str | None = None) -> Corpus:
    token, before = token or unique("t"), await head_cursor(client)
    text = json.dumps(list(_FACTS.values())).replace("~", f"{token}-")
    answer = await publish(client, *json.loads(text))
    return Corpus(token=token, before=before, ids=dict(zip(_FACTS, ids_of(answer), strict=True)))


def as_parameters(item: Json) -> list[tuple[str, Any]]:
    """The one item as the filters of a URL."""
    parameters = [("namespace", name) for name in item.get("namespaces", [])]
    parameters += [("type", name) for name in item.get("types", [])]
    parameters += [("aggregate_id", id_) for id_ in item.get("aggregate_ids", [])]
    pairs = [(key, values if isinstance(values, list) else [values]) for key, values in item.get("meta", {}).items()]
    return parameters + [("meta", f"{key}:{value}") for key, values in pairs for value in values]
