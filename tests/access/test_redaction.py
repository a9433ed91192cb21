"""Whoever manages a namespace may redact its facts, and no others."""

import httpx

from tests.access.conftest import Guarded, new_tenant
from tests.access.keys import known, make_key, new_client, new_grants
from tests.support.builders import publication

REASON = {"reason": "by mistake"}


async def redact(client: httpx.AsyncClient, id: str) -> httpx.Response:
    return await client.post(f"/v1/facts/{id}/redaction", json=REASON)


async def test_a_manager_of_a_namespace_redacts_its_facts_and_no_others(
    guarded: Guarded, manager: httpx.AsyncClient
) -> None:
    own, other = await new_tenant(guarded.service), await new_tenant(guarded.service)
    namespace = own.things.namespace
    secret = (
        await make_key(guarded.service.database_url, new_grants(manage=([namespace, f"{namespace}.*"], [])))
    ).secret
    await known(guarded.url, secret)
    async with new_client(guarded.url, secret) as client:
        redacted = await redact(client, own.things.id)
        assert (redacted.status_code, redacted.json()["position"]) == (200, own.things.position)
        refused = await redact(client, other.things.id)
        unknown = await redact(client, other.things.id.replace("-4", "-5"))
        assert (refused.status_code, unknown.status_code) == (404, 404)
        assert refused.text.replace(other.things.id, "") == unknown.text.replace(
            other.things.id.replace("-4", "-5"), ""
        )
    assert (await manager.get(f"/v1/facts/{own.things.id}")).json()["redacted"] is True
    assert "redacted" not in (await manager.get(f"/v1/facts/{other.things.id}")).json()


async def test_a_publisher_may_not_redact_what_he_published(guarded: Guarded, tenant: httpx.AsyncClient) -> None:
    id = guarded.ours.things.id
    refused = await redact(tenant, id)
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:factwire:problem:forbidden")
    assert "redacted" not in (await tenant.get(f"/v1/facts/{id}")).json()


async def test_facts_of_the_audit_are_redacted_by_nobody(guarded: Guarded, manager: httpx.AsyncClient) -> None:
    audit = (await manager.get("/v1/facts", params={"namespace": "factwire", "limit": 1})).json()["facts"][0]
    refused = await redact(manager, audit["id"])
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:factwire:problem:fact-reserved")
    published = await manager.post("/v1/facts", json=publication({"namespace": "x", "type": "T", "payload": 1}))
    assert published.status_code == 201
