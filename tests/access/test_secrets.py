"""Secrets are searched for wherever they must not be: in what is logged, and in what is answered."""

import httpx
import pytest

from tests.access.conftest import Guarded
from tests.access.keys import EVERYTHING_GRANTED, bearer, known, make_key, new_client
from tests.conftest import StartService
from tests.support.builders import new_fact, publication

JSON = {"content-type": "application/json"}


def misplaced(secret: str) -> list[tuple[str, str, dict[str, str], bytes]]:
    """Requests that carry a secret where it belongs, and where people put it by mistake."""
    right = bearer(secret)
    return [
        ("GET", "/v1/facts", right, b""),
        ("GET", "/v1/facts/00000000-0000-0000-0000-000000000000", right, b""),
        ("POST", "/v1/facts", right | JSON, b"{"),
        ("POST", "/v1/facts", right | JSON, b'{"facts": [{"namespace": "?", "type": "T", "payload": 1}]}'),
        ("GET", "/v1/nothing", right, b""),
        ("PUT", "/v1/facts", right, b""),
        ("GET", "/v1/facts", {"authorization": secret}, b""),
        ("GET", "/v1/facts", {"authorization": f"Basic {secret}"}, b""),
        ("GET", "/v1/facts", bearer(f"{secret}x"), b""),
        ("GET", "/v1/facts", {"x-api-key": secret}, b""),
        ("GET", f"/v1/facts?key={secret}", right, b""),
        ("GET", f"/v1/facts?after={secret}", right, b""),
        ("GET", "/v1/stream?after=x", right, b""),
        ("POST", "/v1/keys", right | JSON, b'{"name": "", "grants": {}}'),
    ]


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_secret_is_logged_or_answered(start_service: StartService, log_format: str) -> None:
    service = await start_service(auth="keys", log_requests=True, log_format=log_format)
    made = await make_key(service.database_url, EVERYTHING_GRANTED)
    await known(service.url, made.secret)
    body = made.secret.rpartition("_")[2]
    async with new_client(service.url) as client:
        for method, path, headers, content in misplaced(made.secret):
            response = await client.request(method, path, headers=headers, content=content)
            assert body not in response.text, (method, path)
            assert body not in str(response.headers)
        created = await client.post("/v1/keys", headers=bearer(made.secret), json={"name": "n", "grants": {}})
        rotated = await client.post(f"/v1/keys/{created.json()['id']}/rotate", headers=bearer(made.secret), json={})
        secrets = [made.secret, created.json()["secret"], rotated.json()["secret"]]
        everything = (await client.get("/v1/facts/export", headers=bearer(made.secret))).text
        listed = (await client.get("/v1/keys", headers=bearer(made.secret))).text
        await client.post("/v1/facts", headers=bearer(secrets[1]), json=publication(new_fact()))
    await service.terminate()
    assert "/v1/facts" in service.log
    for place in (service.log, everything, listed):
        for secret in secrets:
            assert secret.rpartition("_")[2] not in place


async def test_the_log_of_a_guarded_service_names_no_key(guarded: Guarded, tenant: httpx.AsyncClient) -> None:
    await tenant.get("/v1/facts")
    for secret in (guarded.manager, guarded.ours.secret, guarded.theirs.secret, guarded.reader, guarded.nobody):
        assert secret.rpartition("_")[2] not in guarded.service.log
