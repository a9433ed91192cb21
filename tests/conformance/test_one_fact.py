"""`GET /v1/facts/{id}` and `GET /v1/facts/at/{position}`: one fact."""

from __future__ import annotations

import uuid

import httpx
import pytest

from tests.conformance.wire import (
    answered,
    fact,
    head_cursor,
    ids_of,
    position_of,
    positions_of,
    problem,
    publish,
    read,
)


@pytest.mark.case("fact-by-id")
async def test_a_fact_is_found_by_its_id(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await publish(client, fact(namespace, payload=1), fact(namespace, payload=2))
    facts = [answered(await client.get(f"/v1/facts/{id_}")) for id_ in ids_of(answer)]
    assert facts == await read(client, namespace=namespace)


@pytest.mark.case("fact-by-upper-case-id")
async def test_a_fact_is_found_by_its_id_in_upper_case(client: httpx.AsyncClient, namespace: str) -> None:
    (id_,) = ids_of(await publish(client, fact(namespace)))
    assert answered(await client.get(f"/v1/facts/{id_.upper()}"))["id"] == id_


@pytest.mark.case("fact-at-position")
async def test_a_fact_is_found_at_its_position(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await publish(client, fact(namespace, payload=1), fact(namespace, payload=2))
    facts = [answered(await client.get(f"/v1/facts/at/{position}")) for position in positions_of(answer)]
    assert facts == await read(client, namespace=namespace)


@pytest.mark.case("fact-by-unknown-id")
async def test_an_unknown_id_is_not_found(client: httpx.AsyncClient) -> None:
    problem(await client.get(f"/v1/facts/{uuid.uuid4()}"), 404, "fact-not-found")


@pytest.mark.case("fact-by-malformed-id")
@pytest.mark.parametrize("id_", ["1", "nonsense", "0193", "x' or '1'='1"])
async def test_an_id_that_cannot_be_parsed_is_refused(client: httpx.AsyncClient, id_: str) -> None:
    response = await client.get(f"/v1/facts/{id_}")
    problem(response, response.status_code, "malformed-parameter", "not-found", "fact-not-found")
    assert response.status_code in {400, 404}


@pytest.mark.case("fact-at-no-position")
async def test_no_fact_is_found_where_there_is_none(client: httpx.AsyncClient) -> None:
    beyond = position_of(await head_cursor(client)) + 1_000_000
    for position in (0, beyond, 2**31, 2**63 - 2):
        problem(await client.get(f"/v1/facts/at/{position}"), 404, "fact-not-found")


@pytest.mark.case("fact-at-malformed-position")
@pytest.mark.parametrize("position", ["-1", "one", "1.5", "9" * 40])
async def test_a_position_that_cannot_be_parsed_is_refused(client: httpx.AsyncClient, position: str) -> None:
    response = await client.get(f"/v1/facts/at/{position}")
    problem(response, response.status_code, "malformed-parameter", "not-found", "fact-not-found")
    assert response.status_code in {400, 404}


@pytest.mark.case("fact-unknown-parameter")
async def test_an_unknown_parameter_is_refused(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await publish(client, fact(namespace))
    for path in (f"/v1/facts/{ids_of(answer)[0]}", f"/v1/facts/at/{answer['position']}"):
        problem(await client.get(path, params={"x": "1"}), 422, "unknown-parameter")
