"""`GET /v1/namespaces` and below: what exists."""

from __future__ import annotations

import httpx
import pytest

from tests.conformance.wire import Json, answered, eventually, fact, positions_of, problem, publish


async def get(client: httpx.AsyncClient, path: str, *, facts: int) -> Json:
    """The answer once the counts, which are folded beside publishing, have arrived at the number of facts."""

    async def ask() -> Json:
        return answered(await client.get(path))

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
        (f"/v1/namespaces/{namespace}/types", "types", "type", [f"T{number:02}" for number in range(5)]),
    ):
        prefix, found, after = names[0][:-2], [], ""
        for expected in (2, 2, 1):
            told = answered(await client.get(path, params={"prefix": prefix, "after": after, "limit": 2}))
            assert len(told[member]) == expected
            found += [one[name] for one in told[member]]
            after = told["next"]
        assert found == names
        assert after is None
    nothing = answered(await client.get(f"/v1/namespaces/{namespace}/types", params={"prefix": "no"}))
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
        return answered(await client.get(f"/v1/namespaces/{namespace}/types"))

    told = await eventually(ask, lambda told: sum(one["facts"] for one in told["types"]) == 4)
    assert told["namespace"] == namespace
    assert sorted(told["types"], key=lambda one: str(one["type"])) == [
        {"type": "Paid", "versions": [1], "facts": 1, "last_position": positions[1]},
        {"type": "Placed", "versions": [1, 2], "facts": 3, "last_position": positions[3]},
    ]


@pytest.mark.case("catalogue-type")
async def test_a_type_is_described_with_each_of_its_versions(client: httpx.AsyncClient, namespace: str) -> None:
    positions = await publish_kinds(client, namespace)
    assert await get(client, f"/v1/namespaces/{namespace}/types/Placed", facts=3) == {
        "namespace": namespace,
        "type": "Placed",
        "facts": 3,
        "last_position": positions[3],
        "versions": [
            {"version": 1, "facts": 2, "last_position": positions[3]},
            {"version": 2, "facts": 1, "last_position": positions[2]},
        ],
    }


@pytest.mark.case("catalogue-counts-grow")
async def test_counts_grow_with_each_publish(client: httpx.AsyncClient, namespace: str) -> None:
    path = f"/v1/namespaces/{namespace}/types/Noted"
    for count in (1, 2, 3):
        answer = await publish(client, fact(namespace))
        told = await get(client, path, facts=count)
        assert told["last_position"] == answer["position"]


@pytest.mark.case("catalogue-unknown-namespace")
async def test_an_unknown_namespace_is_not_found(client: httpx.AsyncClient, namespace: str) -> None:
    problem(await client.get(f"/v1/namespaces/{namespace}/types"), 404, "namespace-not-found")


@pytest.mark.case("catalogue-unknown-type")
async def test_an_unknown_type_is_not_found(client: httpx.AsyncClient, namespace: str) -> None:
    await publish(client, fact(namespace))
    problem(await client.get(f"/v1/namespaces/{namespace}/types/Unheard"), 404, "type-not-found")
    response = await client.get(f"/v1/namespaces/{namespace}.other/types/Noted")
    problem(response, 404, "namespace-not-found", "type-not-found")


@pytest.mark.case("catalogue-awkward-names")
@pytest.mark.parametrize("name", ["'; drop table facts; --", "é", "%00", "a%2Fb", " "])
async def test_awkward_names_are_not_found(client: httpx.AsyncClient, name: str) -> None:
    response = await client.get(f"/v1/namespaces/{name}/types")
    assert 400 <= response.status_code < 500, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
