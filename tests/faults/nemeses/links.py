"""Connections that are refused, lost and slow, between clients and service and between service and database."""

import asyncio

from tests.faults import network
from tests.faults.nemeses.fault import Fault
from tests.faults.site import Setup, Site


async def cut_database(site: Site) -> None:
    """Every connection ends with a reset, and no new one comes about."""
    await _under(site, *network.reset([site.node.port]), seconds=site.random.uniform(0.5, 3))


async def silence_database(site: Site) -> None:
    """Packets are lost both ways, and then arrive again."""
    await _under(site, *network.silence([site.node.port]), seconds=site.random.uniform(1, 8))


async def vanish_from_database(site: Site) -> None:
    """The connections that there are lose everything for good, as after a fail-over of a router. New ones work."""
    await _until_recovered(site, *network.silence(network.ports_connected_to(site.node.port)))


async def cut_clients(site: Site) -> None:
    await _under(site, *network.reset(_ports(site)), seconds=site.random.uniform(0.5, 3))


async def silence_clients(site: Site) -> None:
    await _under(site, *network.silence(_ports(site)), seconds=site.random.uniform(1, 6))


async def vanish_from_clients(site: Site) -> None:
    ports = [port for service in _ports(site) for port in network.ports_connected_to(service)]
    await _until_recovered(site, *network.silence(ports))


async def slow_down(site: Site) -> None:
    """The service's answers are lost beyond a rate, and some followers rest after each piece that they read."""
    resting = [it for it in site.followers if it.process.startswith("slow")] or site.follow_slowly(4)
    for follower in resting:
        follower.rest_seconds = 0.3
    await _under(site, network.slowed(_ports(site), 200), seconds=5)
    for follower in resting:
        follower.rest_seconds = 0.0


def _ports(site: Site) -> list[int]:
    return [service.port for service in site.services]


async def _under(site: Site, *rules: str, seconds: float) -> None:
    network.forbid(*rules)
    await asyncio.sleep(seconds)
    network.heal()
    site.over()


async def _until_recovered(site: Site, *rules: str) -> None:
    """The rules stay until the service has found its way around them."""
    network.forbid(*rules)
    site.over()
    try:
        await site.recovered()
    finally:
        network.heal()


LARGE = Setup(text_bytes_max=12_000, settings={"ring_bytes_max": 1024 * 1024})

FAULTS = (
    Fault("service to database: reset", 8, cut_database),
    Fault("service to database: packets lost, 1 to 8 s", 4, silence_database),
    Fault("service to database: half-open", 1, vanish_from_database),
    Fault("clients to service: reset", 8, cut_clients),
    Fault("clients to service: packets lost, 1 to 6 s", 4, silence_clients),
    Fault("clients to service: half-open", 3, vanish_from_clients),
    Fault("slow links and slow readers", 3, slow_down, LARGE),
)
