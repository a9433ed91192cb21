"""What was revoked or has ended reaches whatever is under way, in every process, within seconds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from factwire.auth.keys import CreatedKey
from tests.access.keys import EVERYTHING_GRANTED, bearer, known, make_key, new_client, new_grants
from tests.conformance.streams import Stream, follow
from tests.conftest import StartService
from tests.support.builders import new_fact, publication
from tests.support.service import ServiceProcess

SOON_SECONDS = 10.0
UNAUTHENTICATED = "urn:factwire:problem:unauthenticated"
SHOP = new_grants(publish=(["shop"], []), read=(["shop"], []))


class Site:
    """Two processes on one database, a manager and two keys of the same grants."""

    def __init__(self, services: list[ServiceProcess], manager: CreatedKey, key: CreatedKey, other: CreatedKey) -> None:
        self.services, self.manager, self.key, self.other = services, manager, key, other

    @property
    def urls(self) -> list[str]:
        return [service.url for service in self.services]

    async def manage(self, method: str, path: str, body: object = None) -> httpx.Response:
        async with new_client(self.urls[0], self.manager.secret) as client:
            response = await client.request(method, path, json=body)
        assert response.is_success, response.text
        return response


@pytest.fixture
async def site(start_service: StartService) -> Site:
    services = [await start_service(auth="keys") for _ in range(2)]
    url = services[0].database_url
    made = [await make_key(url, grants) for grants in (EVERYTHING_GRANTED, SHOP, SHOP)]
    for service in services:
        await known(service.url, *(each.secret for each in made))
    return Site(services, *made)


@asynccontextmanager
async def following(url: str, secret: str) -> AsyncIterator[Stream]:
    """A stream that has caught up."""
    async with follow(url, {"namespace": "shop"}, headers=bearer(secret)) as stream:
        assert stream.status == 200
        await stream.take_until_caught_up()
        yield stream


async def end_of(stream: Stream) -> str:
    """Its last event: how it ended, cleanly."""
    async with asyncio.timeout(SOON_SECONDS):
        frames = await stream.take_to_the_end()
    assert frames[-1].event == "problem"
    return frames[-1].data.decode()


async def publish(url: str, secret: str) -> str:
    fact = new_fact()
    async with new_client(url, secret) as client:
        response = await client.post("/v1/facts", json=publication(fact))
    assert response.status_code == 201, response.text
    return str(fact["id"])


async def refused_soon(url: str, secret: str) -> None:
    async with asyncio.timeout(SOON_SECONDS), new_client(url, secret) as client:
        while (await client.get("/v1/facts")).status_code != 401:
            await asyncio.sleep(0.05)


async def test_a_revoked_key_ends_its_streams_in_every_process_and_no_others(site: Site) -> None:
    here, there = site.urls
    async with (
        following(here, site.key.secret) as ours_here,
        following(there, site.key.secret) as ours_there,
        following(there, site.other.secret) as others,
    ):
        await site.manage("DELETE", f"/v1/keys/{site.key.key.id}")
        for stream in (ours_here, ours_there):
            assert UNAUTHENTICATED in await end_of(stream)
        id = await publish(there, site.other.secret)
        await others.take_through(id)
    for url in site.urls:
        await refused_soon(url, site.key.secret)


async def test_a_key_that_is_revoked_in_the_database_itself_ends_as_well(site: Site) -> None:
    async with following(site.urls[1], site.key.secret) as stream:
        connection = await asyncpg.connect(site.services[0].database_url)
        await connection.execute("update factwire.keys set revoked_at = now() where id = $1", site.key.key.id)
        await connection.close()
        assert UNAUTHENTICATED in await end_of(stream)


async def test_the_streams_of_a_secret_end_with_its_time_of_grace_and_those_of_the_next_go_on(site: Site) -> None:
    there = site.urls[1]
    path = f"/v1/keys/{site.key.key.id}/rotate"
    async with following(there, site.key.secret) as old:
        secret = (await site.manage("POST", path, {"grace_seconds": 3})).json()["secret"]
        await known(there, secret)
        async with following(there, secret) as new:
            await old.take_through(await publish(there, site.key.secret))
            assert UNAUTHENTICATED in await end_of(old)
            await new.take_through(await publish(there, secret))
    await refused_soon(there, site.key.secret)


async def test_a_key_that_expires_ends_its_streams(site: Site) -> None:
    connection = await asyncpg.connect(site.services[0].database_url)
    async with connection.transaction():
        # What a key is never changes: only a superuser who switches the triggers off can make one end sooner.
        await connection.execute("set local session_replication_role = replica")
        await connection.execute(
            "update factwire.keys set expires_at = now() + interval '6 s' where id = $1", site.key.key.id
        )
        await connection.execute("update factwire.keys_version set version = version + 1")
    await connection.close()
    async with following(site.urls[1], site.key.secret) as stream:
        assert UNAUTHENTICATED in await end_of(stream)


async def test_a_long_poll_ends_when_its_key_is_revoked(site: Site) -> None:
    async with new_client(site.urls[1], site.key.secret, timeout=40) as client:
        polling = asyncio.create_task(
            client.get("/v1/facts", params={"namespace": "shop", "after": "head", "wait_seconds": 30})
        )
        await asyncio.sleep(0)
        await site.manage("DELETE", f"/v1/keys/{site.key.key.id}")
        async with asyncio.timeout(SOON_SECONDS):
            response = await polling
    assert response.status_code == 401


async def test_an_import_that_is_under_way_ends_when_its_key_is_revoked(site: Site) -> None:
    revoked = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield b'{"namespace":"shop","type":"T","payload":1}\n'
        await revoked.wait()
        yield b'{"namespace":"shop","type":"T","payload":2}\n'

    async with new_client(site.urls[1], site.key.secret, timeout=40) as client:
        headers = {"content-type": "application/x-ndjson"}
        importing = asyncio.create_task(client.post("/v1/facts/import", content=lines(), headers=headers))
        await site.manage("DELETE", f"/v1/keys/{site.key.key.id}")
        await refused_soon(site.urls[1], site.key.secret)
        revoked.set()
        response = await importing
    assert UNAUTHENTICATED in response.text.splitlines()[-1]


async def test_an_export_that_is_under_way_is_cut_when_its_key_is_revoked(site: Site) -> None:
    there = site.urls[1]
    async with new_client(there, site.key.secret, timeout=40) as client:
        for _ in range(12):
            facts = [new_fact(payload="x" * 250_000) for _ in range(12)]
            assert (await client.post("/v1/facts", json=publication(*facts))).status_code == 201
        headers = {"accept-encoding": "identity"}
        async with client.stream("GET", "/v1/facts/export", headers=headers) as response:
            received = response.aiter_bytes()
            await anext(received)
            await site.manage("DELETE", f"/v1/keys/{site.key.key.id}")
            await refused_soon(there, site.key.secret)
            with pytest.raises(httpx.RemoteProtocolError):
                await drained(received)


async def drained(received: AsyncIterator[bytes]) -> None:
    async for _ in received:
        pass
