"""Keys for tests, and clients that come with them."""

import asyncio
from collections.abc import Sequence

import asyncpg
import httpx

from factwire.auth.keys import CreatedKey, create
from factwire.domain.grants import EVERYTHING, Grants, new_namespace_set
from factwire.domain.principal import Principal

TESTER = Principal("tests", EVERYTHING)
KNOWN_SECONDS = 15.0
POLL_SECONDS = 0.05

Patterns = tuple[Sequence[str], Sequence[str]]
NOTHING: Patterns = ((), ())
EVERY: Patterns = (("*",), ())


def new_grants(
    *,
    publish: Patterns = NOTHING,
    read: Patterns = NOTHING,
    manage: Patterns = NOTHING,
    subscribe: Patterns = NOTHING,
) -> Grants:
    return Grants(*(new_namespace_set(*patterns) for patterns in (publish, read, manage, subscribe)))


EVERYTHING_GRANTED = new_grants(publish=EVERY, read=EVERY, manage=EVERY, subscribe=EVERY)


async def make_key(database_url: str, grants: Grants, *, name: str = "of a test") -> CreatedKey:
    connection = await asyncpg.connect(database_url)
    try:
        return await create(connection, TESTER, name=name, grants=grants, expires_at=None)
    finally:
        await connection.close()


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def new_client(url: str, secret: str | None = None, *, timeout: float = 20) -> httpx.AsyncClient:
    headers = {} if secret is None else bearer(secret)
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout, verify=False)


async def known(url: str, *secrets: str) -> None:
    """Return once a service takes these keys."""
    async with asyncio.timeout(KNOWN_SECONDS), new_client(url) as client:
        for secret in secrets:
            while (await client.get("/v1/position", headers=bearer(secret))).status_code == 401:
                await asyncio.sleep(POLL_SECONDS)
