"""Publishing in a namespace of others is refused, and the pointer leads to what was sent."""

import json
from typing import Any

import httpx
import pytest

from tests.access.conftest import Guarded
from tests.support.builders import new_fact, publication

EVENTS = "/v1/facts/cloudevents"


def event(namespace: str) -> dict[str, str]:
    return {"specversion": "1.0", "id": "1", "source": f"/{namespace}", "type": "Noted", "namespace": namespace}


@pytest.mark.parametrize(
    ("path", "media_type", "pointer"),
    [
        ("/v1/facts", "application/json", "/facts/1/namespace"),
        (EVENTS, "application/cloudevents+json", ""),
        (EVENTS, "application/cloudevents-batch+json", "/1"),
    ],
    ids=["facts", "event", "events"],
)
async def test_the_fact_that_may_not_be_published_is_pointed_at(
    guarded: Guarded, tenant: httpx.AsyncClient, path: str, media_type: str, pointer: str
) -> None:
    ours, theirs = guarded.ours.things.namespace, guarded.theirs.things.namespace
    bodies: dict[str, Any] = {
        "application/json": publication(new_fact(namespace=ours), new_fact(namespace=theirs)),
        "application/cloudevents+json": event(theirs),
        "application/cloudevents-batch+json": [event(ours), event(theirs)],
    }
    response = await tenant.post(path, content=json.dumps(bodies[media_type]), headers={"content-type": media_type})
    assert response.status_code == 403
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert response.json()["detail"].startswith(f"{pointer or 'body'}: ")
