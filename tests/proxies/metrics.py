"""What a process says of itself, asked past the proxy."""

import httpx

from tests.support.service import ServiceProcess


async def metric(service: ServiceProcess, name: str) -> int:
    """A value, summed over its labels."""
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        lines = (await client.get("/metrics")).text.splitlines()
    values = [line.split()[1] for line in lines if line.partition("{")[0].partition(" ")[0] == name]
    assert values, f"there is no metric {name}"
    return int(sum(map(float, values)))


async def has(service: ServiceProcess, name: str, value: int) -> bool:
    return await metric(service, name) == value


async def publishes(service: ServiceProcess) -> bool:
    """Whether the proxy gives it work, and it does it."""
    return await metric(service, "factwire_published_facts_total") > 0
