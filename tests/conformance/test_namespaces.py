"""`GET /v1/namespaces` and `GET /v1/types`: what exists."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.conformance.wire import Json, answered, eventually, fact, positions_of, problem, publish


async def type_of(client: httpx.AsyncClient, namespace: str, type_: str, *, facts: int) -> Json:
    """One type once its counts, which are folded beside publishing, have arrived at the number of facts."""

    async def ask() -> Json:
        found = answered(await client.get("/v1/types", params={"namespace": namespace, "type": type_}))
        assert (found["namespace"], found["next"]) == (namespace, None)
        [one] = found["types"]
        return dict(one)

    return await eventually(ask, lambda told: told["facts"] == facts)


async def publish_kinds(client: httpx.AsyncClient, namespace: str) -> list[int]:
    answer = await publish(
        client,
        fact(namespace, "Placed"),
        fact(namespace, "Paid"),
        fact(namespace, "Placed", version=2),
        fact(namespace, "Placed"),
    )
    return positions_of(answer)


@pytest.mark.case("catalogue-namespaces")
async def test_namespaces_are_listed_with_their_counts(client: httpx.AsyncClient, namespace: str) -> None:
    positions = await publish_kinds(client, namespace)

    async def ask() -> list[Json]:
        listed: list[Json] = answered(await client.get("/v1/namespaces", params={"prefix": namespace}))["namespaces"]
        return [one for one in listed if one["namespace"] == namespace]

    (found,) = await eventually(ask, lambda listed: [one["facts"] for one in listed] == [4])
    assert found == {"namespace": namespace, "facts": 4, "last_position": positions[-1]}


@pytest.mark.case("catalogue-namespaces-are-known-at-once")
async def test_a_namespace_is_listed_as_soon_as_it_has_a_fact(client: httpx.AsyncClient, namespace: str) -> None:
    await publish(client, fact(namespace))
    listed = answered(await client.get("/v1/namespaces", params={"prefix": namespace}))["namespaces"]
    assert namespace in [one["namespace"] for one in listed]


@pytest.mark.case("catalogue-pages")
async def test_names_are_listed_page_by_page_in_order(client: httpx.AsyncClient, namespace: str) -> None:
    await publish(client, *[fact(f"{namespace}.{number:02}", f"T{number:02}") for number in range(5)])
    await publish(client, *[fact(namespace, f"T{number:02}") for number in range(5)])
    for path, member, name, names in (
        ("/v1/namespaces", "namespaces", "namespace", [f"{namespace}.{number:02}" for number in range(5)]),
        ("/v1/types", "types", "type", [f"T{number:02}" for number in range(5)]),
    ):
        prefix, found, after = names[0][:-2], [], ""
        for expected in (2, 2, 1):
            of = {"namespace": namespace} if member == "types" else {}
            told = answered(await client.get(path, params=of | {"prefix": prefix, "after": after, "limit": 2}))
            assert len(told[member]) == expected
            found += [one[name] for one in told[member]]
            after = told["next"]
        assert found == names
        assert after is None
    nothing = answered(await client.get("/v1/types", params={"namespace": namespace, "prefix": "no"}))
    assert (nothing["types"], nothing["next"]) == ([], None)


@pytest.mark.case("catalogue-page-limits")
async def test_a_page_of_names_has_a_limit(client: httpx.AsyncClient) -> None:
    assert len(answered(await client.get("/v1/namespaces", params={"limit": 1}))["namespaces"]) <= 1
    problem(await client.get("/v1/namespaces", params={"limit": 1001}), 422, "limit-exceeded")
    problem(await client.get("/v1/namespaces", params={"limit": 0}), 400, "malformed-parameter")
    problem(await client.get("/v1/namespaces", params={"prefix": "\x00"}), 400, "malformed-parameter")


@pytest.mark.case("catalogue-types")
async def test_the_types_of_a_namespace_are_listed_with_versions_and_counts(
    client: httpx.AsyncClient, namespace: str
) -> None:
    positions = await publish_kinds(client, namespace)

    async def ask() -> Json:
        return answered(await client.get("/v1/types", params={"namespace": namespace}))

    told = await eventually(ask, lambda told: sum(one["facts"] for one in told["types"]) == 4)
    assert told["namespace"] == namespace
    assert sorted(told["types"], key=lambda one: str(one["type"])) == [
        {"type": "Paid", "versions": [1], "facts": 1, "last_position": positions[1]},
        {"type": "Placed", "versions": [1, 2], "facts": 3, "last_position": positions[3]},
    ]


@pytest.mark.case("catalogue-type")
async def test_a_type_is_described_with_each_of_its_versions(client: httpx.AsyncClient, namespace: str) -> None:
    positions = await publish_kinds(client, namespace)
    assert await type_of(client, namespace, "Placed", facts=3) == {
        "type": "Placed",
        "versions": [1, 2],
        "facts": 3,
        "last_position": positions[3],
        "by_version": [
            {"version": 1, "facts": 2, "last_position": positions[3]},
            {"version": 2, "facts": 1, "last_position": positions[2]},
        ],
    }


@pytest.mark.case("catalogue-counts-grow")
async def test_counts_grow_with_each_publish(client: httpx.AsyncClient, namespace: str) -> None:
    for count in (1, 2, 3):
        answer = await publish(client, fact(namespace))
        told = await type_of(client, namespace, "Noted", facts=count)
        assert told["last_position"] == answer["position"]


@pytest.mark.case("catalogue-unknown-namespace")
async def test_an_unknown_namespace_is_not_found(client: httpx.AsyncClient, namespace: str) -> None:
    problem(await client.get("/v1/types", params={"namespace": namespace}), 404, "namespace-not-found")


@pytest.mark.case("catalogue-unknown-type")
async def test_an_unknown_type_is_not_found(client: httpx.AsyncClient, namespace: str) -> None:
    await publish(client, fact(namespace))
    for where, type_ in ((namespace, "Unheard"), (namespace, ""), (f"{namespace}.other", "Noted")):
        problem(await client.get("/v1/types", params={"namespace": where, "type": type_}), 404, "type-not-found")


@pytest.mark.case("catalogue-types-parameters")
@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({}, "namespace"),
        ({"namespace": ["a", "b"]}, "namespace"),
        ({"namespace": "a", "type": ["A", "B"]}, "type"),
        ({"namespace": "a", "type": "A", "limit": 1}, "type"),
    ],
    ids=repr,
)
async def test_types_are_those_of_one_namespace(client: httpx.AsyncClient, parameters: Json, named: str) -> None:
    told = problem(await client.get("/v1/types", params=parameters), 400, "malformed-parameter")
    assert [error["parameter"] for error in told["errors"]] == [named]


AWKWARD_TYPES = [
    "App\\Events\\OrderPlaced",
    "Acme.Orders+Placed",
    "com.example/placed",
    "https://example.com/events/placed?v=1#top",
    "Größe",
    "ordre passé",
    "__main__:Dog.Registered",
    "tests.x:T.test.<locals>.Dog",
    "user@v2",
    "\"quoted\" & 'so'",
    "%2F",
    "🦊",
    "e\u0301",
    "a" * 200,
]


@pytest.mark.case("types-of-any-text")
@pytest.mark.parametrize("type_", AWKWARD_TYPES)
async def test_a_type_is_any_text_and_kept_as_it_is(client: httpx.AsyncClient, namespace: str, type_: str) -> None:
    item = {"namespaces": [namespace], "types": [type_]}
    answer = await publish(client, fact(namespace, type_), condition={"fail_if_match": [item]})
    problem(
        await client.post("/v1/facts", json={"facts": [fact(namespace)], "condition": {"fail_if_match": [item]}}),
        409,
        "condition-failed",
    )
    [read] = answered(await client.get("/v1/facts", params={"namespace": namespace, "type": type_}))["facts"]
    assert (read["type"], read["position"]) == (type_, answer["position"])
    for prefix in {type_[:1], type_[:3], type_}:
        listed = answered(await client.get("/v1/types", params={"namespace": namespace, "prefix": prefix}))["types"]
        assert [one["type"] for one in listed] == [type_]
    assert (await type_of(client, namespace, type_, facts=1))["versions"] == [1]


@pytest.mark.case("types-refused")
@pytest.mark.parametrize(
    "type_", ["", " ", " a", "a ", "a\nb", "a\tb", "a\u2028b", "a\u2029", "a\x7f", "a\u0085b", "\ud800", "a" * 201]
)
async def test_a_text_that_is_no_type_is_refused(client: httpx.AsyncClient, namespace: str, type_: str) -> None:
    body = json.dumps({"facts": [fact(namespace, type_)]})
    response = await client.post("/v1/facts", content=body, headers={"content-type": "application/json"})
    problem(response, response.status_code, "invalid-request", "malformed-json")
    assert response.status_code in {400, 422}


@pytest.mark.case("catalogue-awkward-names")
@pytest.mark.parametrize("name", ["'; drop table facts; --", "é", "%00", "a%2Fb", " "])
async def test_awkward_names_are_not_found(client: httpx.AsyncClient, name: str) -> None:
    response = await client.get("/v1/types", params={"namespace": name})
    assert 400 <= response.status_code < 500, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
