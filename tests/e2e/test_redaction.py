"""A redacted payload is gone on every path, and the log tells of it."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from factwire.store.encryption.keys import new_master_key
from tests.conftest import StartService
from tests.e2e.erasure import SECRET, erase, opened, publish
from tests.e2e.test_erasure import PATHS, WAIT_SECONDS, next_fact, one, until
from tests.support.builders import new_fact, publication

REDACTED = {"payload": None, "redacted": True}
REASON = "published by mistake"


async def redact(client: httpx.AsyncClient, fact: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(f"/v1/facts/{fact['id']}/redaction", json={"reason": REASON})
    assert answer.status_code == 200, answer.text
    redacted: dict[str, Any] = answer.json()
    return redacted


@pytest.mark.parametrize("data_subject", [None, "customer-1"])
async def test_no_path_shows_a_redacted_payload(start_service: StartService, data_subject: str | None) -> None:
    service = await start_service(master_key=new_master_key())
    fact, kept = new_fact(payload={"name": SECRET}, meta={"note": '},"payload":'}), new_fact()
    if data_subject is not None:
        fact["data_subject"] = data_subject
    async with opened(service.url) as client:
        await publish(client, kept, fact)
        whole = one(await PATHS[0](client, fact), fact["id"])
        assert whole["payload"] == fact["payload"]
        told = await redact(client, fact)
        assert told == {"id": fact["id"], "position": 2, "reason": REASON, "redacted_at": told["redacted_at"]}
        assert await redact(client, fact) == told
        for path in PATHS:
            after = await path(client, fact)
            assert one(after, fact["id"]) == whole | REDACTED, path.__name__
            assert SECRET not in json.dumps(after)
        audit = (await client.get("/v1/facts", params={"namespace": "factwire"})).json()["facts"]
        assert [(each["type"], each["aggregate_ids"]) for each in audit] == [("FactRedacted", [fact["id"]])]
        assert audit[0]["payload"] | {"reason": REASON, "position": 2} == audit[0]["payload"]
        if data_subject is not None:
            await erase(client, data_subject)
            assert one(await PATHS[0](client, fact), fact["id"]) == whole | REDACTED | {"erased": True}


async def test_followers_are_told_of_a_redaction_and_a_ring_forgets(start_service: StartService) -> None:
    here_service, there_service = await start_service(), await start_service()
    fact = new_fact(payload={"name": SECRET})
    async with opened(here_service.url) as here, opened(there_service.url) as there:
        async with asyncio.timeout(WAIT_SECONDS), there.stream("GET", "/v1/stream") as response:
            events = response.aiter_lines()
            await until(events, "event: caught-up")
            await publish(here, fact)
            assert SECRET in await next_fact(events)
            await redact(here, fact)
            assert "FactRedacted" in await next_fact(events)
        for client in (here, there):
            for path in PATHS:
                assert SECRET not in json.dumps(await path(client, fact)), path.__name__


async def test_a_retry_of_a_redacted_fact_is_a_conflict_whatever_its_content(start_service: StartService) -> None:
    service = await start_service()
    fact = new_fact(payload={"ill": True})
    async with opened(service.url) as client:
        await publish(client, fact)
        await redact(client, fact)
        told = set()
        for payload in ({"ill": True}, {"ill": False}):
            answer = await client.post("/v1/facts", json=publication(fact | {"payload": payload}))
            assert answer.status_code == 409
            told.add(answer.text)
        assert len(told) == 1


async def test_what_cannot_be_redacted_is_refused(start_service: StartService) -> None:
    service = await start_service()
    fact = new_fact()
    async with opened(service.url) as client:
        await publish(client, fact)
        await redact(client, fact)
        audit = (await client.get("/v1/facts", params={"namespace": "factwire"})).json()["facts"][0]
        for id, body, status, code in (
            (new_fact()["id"], {"reason": "x"}, 404, "fact-not-found"),
            (audit["id"], {"reason": "x"}, 409, "fact-reserved"),
            ("nothing", {"reason": "x"}, 400, "malformed-parameter"),
            (fact["id"], {"reason": " "}, 422, "invalid-request"),
            (fact["id"], {"reason": "x" * 257}, 422, "invalid-request"),
            (fact["id"], {}, 422, "invalid-request"),
        ):
            answer = await client.post(f"/v1/facts/{id}/redaction", json=body)
            assert (answer.status_code, answer.json()["type"]) == (status, f"urn:factwire:problem:{code}"), body
