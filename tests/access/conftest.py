"""A service that asks for keys, and two tenants of it who know nothing of each other."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest

from tests.access.document import Things
from tests.access.keys import EVERYTHING_GRANTED, Patterns, bearer, known, make_key, new_client, new_grants
from tests.support.builders import publication
from tests.support.postgres import Databases
from tests.support.service import ServiceProcess, settings_of


@dataclass(frozen=True)
class Tenant:
    """A key with its namespaces, and one fact that was published with it."""

    secret: str
    things: Things


@dataclass(frozen=True)
class Guarded:
    """`reader` may read all that is no audit, `nobody` may do nothing at all."""

    service: ServiceProcess
    manager: str
    ours: Tenant
    theirs: Tenant
    reader: str
    nobody: str

    @property
    def url(self) -> str:
        return self.service.url


@pytest.fixture(scope="session")
def guarded(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    environment = settings_of(database_url=databases.create(), auth="keys", log_requests=True)
    log_path = tmp_path_factory.mktemp("guarded") / "service.log"
    service = ServiceProcess(environment, log_path=log_path)
    with asyncio.Runner() as runner:
        runner.run(service.__aenter__())
        yield runner.run(furnish(service))
        runner.run(service.close())


async def furnish(service: ServiceProcess) -> Guarded:
    url = service.database_url
    manager = (await make_key(url, EVERYTHING_GRANTED)).secret
    reader = (await make_key(url, new_grants(read=(["*"], [])))).secret
    nobody = (await make_key(url, new_grants())).secret
    await known(service.url, manager, reader, nobody)
    return Guarded(service, manager, await new_tenant(service), await new_tenant(service), reader, nobody)


async def new_tenant(service: ServiceProcess) -> Tenant:
    mark = uuid4().hex
    namespace = f"team{mark}"
    granted: Patterns = ([namespace, f"{namespace}.*"], [])
    made = await make_key(service.database_url, new_grants(publish=granted, read=granted))
    await known(service.url, made.secret)
    fact = {
        "id": str(uuid4()),
        "namespace": namespace,
        "type": f"Type{mark}",
        "aggregate_ids": [f"aggregate-{mark}"],
        "meta": {"tenant": f"tenant-{mark}"},
        "payload": f"payload-{mark}",
    }
    async with new_client(service.url, made.secret) as client:
        response = await client.post("/v1/facts", json=publication(fact))
    assert response.status_code == 201, response.text
    things = Things(
        id=str(fact["id"]),
        position=response.json()["position"],
        namespace=namespace,
        type=f"Type{mark}",
        aggregate_id=f"aggregate-{mark}",
        tenant=f"tenant-{mark}",
        payload=f"payload-{mark}",
        key_id=made.key.id,
    )
    return Tenant(made.secret, things)


@pytest.fixture
async def stranger(guarded: Guarded) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials."""
    async with AsyncExitStack() as opened:
        yield await opened.enter_async_context(new_client(guarded.url))


@pytest.fixture
async def tenant(guarded: Guarded) -> AsyncIterator[httpx.AsyncClient]:
    """A client of one of the two tenants."""
    async with new_client(guarded.url, guarded.ours.secret) as client:
        yield client


@pytest.fixture
async def manager(guarded: Guarded) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=guarded.url, headers=bearer(guarded.manager), timeout=20, verify=False
    ) as client:
        yield client
