"""Tokens at a running service: what it needs to start, and what it answers while the issuer is away."""

import asyncio
import os
import subprocess
import sys

import httpx
import pytest

from tests.conftest import StartService
from tests.support.builders import publication
from tests.support.issuer import AUDIENCE, IssuerServer
from tests.support.service import ROOT, clean_environment, settings_of

ALL = {"include": ["*"]}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_what_a_token_grants_comes_from_its_claims_by_setting(
    start_service: StartService, issuer: IssuerServer
) -> None:
    service = await start_service(
        auth="jwt",
        jwt_issuer=issuer.url,
        jwt_audience=AUDIENCE,
        jwt_jwks_url=f"{issuer.url}/keys",
        jwt_grants='{"/realm_access/roles": {"writer": {"publish": {"include": ["shop"]}}}, "scope": {"facts:read":'
        ' {"read": {"include": ["shop"]}}}}',
    )
    writer = bearer(issuer.token(realm_access={"roles": ["writer", "other"]}))
    reader = bearer(issuer.token(scope="openid facts:read"))
    nobody = bearer(issuer.token(scope="openid"))
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        assert (await client.post("/v1/facts", json=publication(), headers=writer)).status_code == 201
        assert (await client.post("/v1/facts", json=publication(), headers=reader)).status_code == 403
        assert (await client.post("/v1/facts", json=publication(), headers=nobody)).status_code == 403
        assert len((await client.get("/v1/facts", headers=reader)).json()["facts"]) == 1
        for headers in (writer, nobody):
            assert (await client.get("/v1/facts", headers=headers)).json()["facts"] == []
        refused = await client.get("/v1/facts", headers=bearer("a.b.c"))
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "/.well-known/openid-configuration" not in issuer.asked


async def test_while_the_issuer_is_away_nothing_is_refused_for_good_and_its_return_is_noticed(
    start_service: StartService, issuer: IssuerServer
) -> None:
    issuer.behaviour = "fail"
    service = await start_service(auth="jwt", jwt_issuer=issuer.url, jwt_audience=AUDIENCE, jwt_grants_claim="grants")
    headers = bearer(issuer.token(grants={"read": ALL, "publish": ALL}))
    async with httpx.AsyncClient(base_url=service.url, verify=False, timeout=30) as client:
        published = await client.post("/v1/facts", json=publication(), headers=headers)
        assert (published.status_code, published.headers["retry-after"]) == (503, "1")
        stream = await client.get("/v1/stream", headers=headers)
        assert stream.status_code == 200  # EventSource never comes back after a 503
        assert stream.text.startswith("retry: ")
        issuer.behaviour = "answer"
        async with asyncio.timeout(30):
            while (await client.get("/v1/facts", headers=headers)).status_code != 200:
                await asyncio.sleep(0.2)
        assert (await client.post("/v1/facts", json=publication(), headers=headers)).status_code == 201
    assert service.log.count("the keys of the issuer") == 1


GOOD = {"auth": "jwt", "jwt_issuer": "https://sso.example", "jwt_audience": "facts"}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (GOOD | {"jwt_issuer": None}, "FACTWIRE_JWT_ISSUER"),
        (GOOD | {"jwt_audience": None}, "FACTWIRE_JWT_AUDIENCE"),
        (GOOD | {"jwt_issuer": "http://sso.example"}, "FACTWIRE_JWT_ISSUER: "),
        (GOOD | {"jwt_issuer": "https://user:secret@sso.example"}, "FACTWIRE_JWT_ISSUER: "),
        (GOOD | {"jwt_jwks_url": "file:///etc/passwd"}, "FACTWIRE_JWT_JWKS_URL: "),
        (GOOD | {"jwt_algorithms": "RS256,none"}, "FACTWIRE_JWT_ALGORITHMS: "),
        (GOOD | {"jwt_algorithms": "HS256"}, "FACTWIRE_JWT_ALGORITHMS: "),
        (GOOD | {"jwt_algorithms": ","}, "FACTWIRE_JWT_ALGORITHMS: "),
        (GOOD | {"jwt_grants": '{"scope": ["read"]}'}, "FACTWIRE_JWT_GRANTS: "),
        (GOOD | {"jwt_grants": '{"scope": {"read": {"read": {"include": ["a*"]}}}}'}, "FACTWIRE_JWT_GRANTS: "),
        (GOOD | {"jwt_grants": "nonsense"}, "FACTWIRE_JWT_GRANTS: "),
        (GOOD | {"ticket_seconds": 61}, "FACTWIRE_TICKET_SECONDS: "),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_name(settings: dict[str, object], named: str) -> None:
    environment = clean_environment() | settings_of(database_url="postgresql://127.0.0.1:1/none", **settings)
    done = subprocess.run(
        [sys.executable, "-m", "factwire", "serve"], cwd=ROOT, env=environment | {"PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert named in done.stderr
    assert "secret" not in done.stderr
