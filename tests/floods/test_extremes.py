"""What is legal, to the utmost: what others notice, and whether memory stays within its bounds."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil
import pytest

from factwire.settings import MIB
from tests.access.keys import EVERYTHING_GRANTED, known, make_key
from tests.conftest import StartService
from tests.floods import extremes
from tests.floods.attackers import is_loopback_network
from tests.floods.bystanders import Bystanders, Noticed, at
from tests.floods.extremes import Attack, Role, run_extreme
from tests.floods.flooding import flooded
from tests.floods.memory import bound, watched
from tests.support.service import ServiceProcess

CALM_SECONDS = 2.0
FLOOD_SECONDS = 12.0
P99_MILLISECONDS = 250.0  # of others, as promised
FAR_BEYOND = 4  # times that fails the test: the machine of a test may be busy otherwise
LEAST_NOTICED = 10

BODIES, WAITING = "bodies_bytes_max", "publish_bytes_waiting_max"
UNREAD, QUERIES, HISTORY = "unread_bytes_max", "queries_bytes_max", "stream_history_bytes_max"

pytestmark = [
    pytest.mark.floods,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not is_loopback_network(), reason="needs the loopback network of Linux"),
]


@dataclass(frozen=True)
class Extreme:
    """Roles of attackers, the bounds of memory that they fill, and the outcomes that show that they were served."""

    roles: tuple[Role, ...]
    fills: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    least: int = 1
    prepare: Attack | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    is_stranger: bool = False

    @property
    def connections(self) -> int:
        return sum(role.connections for role in self.roles)


EXTREMES = {
    "escapes to search": Extreme((Role(extremes.search_for_escapes, 8),), (BODIES,), ("422",), 8),
    "escapes to publish": Extreme((Role(extremes.publish_escapes, 8),), (BODIES, WAITING), ("201", "422"), 8),
    "imports of an endless line": Extreme((Role(extremes.import_an_endless_line, 60),), (BODIES,)),
    "bombs to import": Extreme((Role(extremes.import_bombs, 12),), (BODIES, WAITING)),
    "10000 postings": Extreme((Role(extremes.publish_many_postings, 16),), (BODIES, WAITING), ("201",), 16),
    "payloads of 1 MiB": Extreme((Role(extremes.publish_large_payloads, 16),), (BODIES, WAITING), ("201",), 16),
    "queries for all but one tag": Extreme(
        (Role(extremes.follow_all_but_one_tag, 4), Role(extremes.publish_many_tags, 4)), (QUERIES,), ("201",), 8
    ),
    "catching up again and again": Extreme(
        (Role(extremes.catch_up, 8),), (QUERIES,), ("caught up",), 2, prepare=extremes.fill_the_ring
    ),
    "1000 streams catch up": Extreme(
        (Role(extremes.catch_up_by_20_items, 1000),),
        (QUERIES,),
        ("200",),
        1000,
        prepare=extremes.publish_2000_of_one_aggregate,
    ),
    "queries of 3 MB": Extreme((Role(extremes.follow_the_largest_query, 100),), (QUERIES, BODIES), ("200",), 20),
    "1000 queries at one aggregate": Extreme(
        (Role(extremes.follow_one_aggregate, 1000), Role(extremes.publish_of_one_aggregate, 1)), (QUERIES,), ("201",), 8
    ),
    "20000 items at one aggregate": Extreme(
        (Role(extremes.follow_one_aggregate_by_20_items, 1000), Role(extremes.publish_of_one_aggregate, 1)),
        (QUERIES,),
        ("201",),
        8,
    ),
    "unread answers": Extreme(
        (Role(extremes.export_unread, 150, reads=False), Role(extremes.page_unread, 150, reads=False)),
        (UNREAD,),
        ("200", "503"),
        50,
        prepare=extremes.publish_some_history,
    ),
    "slow streams": Extreme(
        (Role(extremes.catch_up_slowly, 200, reads=False),),
        (UNREAD, HISTORY),
        ("200",),
        100,
        prepare=extremes.publish_some_history,
    ),
    "long polls of 3 MB": Extreme((Role(extremes.poll_with_the_largest_query, 8),), (QUERIES, BODIES), ("200",), 20),
    "bodies that nobody asks for": Extreme((Role(extremes.poll_with_a_body, 400),)),
    "headers that do not end": Extreme(
        (Role(extremes.hold_headers, 400),), (), ("408",), 400, settings={"auth": "keys"}, is_stranger=True
    ),
    "conditions of 3 MB": Extreme(
        (Role(extremes.publish_on_the_largest_condition, 40),), (BODIES, WAITING), ("201",), 4
    ),
    "conditions on many kinds": Extreme(
        (Role(extremes.publish_on_many_kinds, 60), Role(extremes.publish_many_kinds, 1)),
        (BODIES, WAITING),
        ("201",),
        8,
        prepare=extremes.publish_2000_kinds,
    ),
    "sessions and tickets": Extreme(
        (Role(extremes.begin_sessions, 8), Role(extremes.ask_for_tickets, 8)),
        (),
        ("201",),
        1000,
        settings={"auth": "keys"},
    ),
}


@pytest.mark.parametrize("name", EXTREMES)
async def test_others_are_served_while_one_uses_all_that_it_may(start_service: StartService, name: str) -> None:
    extreme = EXTREMES[name]
    service = await start_service(**{"query_items_max": 1000, **extreme.settings})
    secret, attackers_secret = await secrets_of(service, extreme)
    bystanders = Bystanders(service.url, secret=secret)
    outcomes: dict[str, int] = {}
    calm, cpu_seconds = float("nan"), 0.0
    async with watched(service.pid) as memory:
        try:
            async with bystanders.busy():
                await asyncio.sleep(CALM_SECONDS)
                calm = at(bystanders.noticed.publish, 0.99)
                args = (service.port, attackers_secret, extreme.prepare, extreme.roles)
                async with flooded(run_extreme, *args) as outcomes:
                    bystanders.noticed = Noticed()
                    began = psutil.Process(service.pid).cpu_times()
                    await asyncio.sleep(FLOOD_SECONDS)
                    cpu_seconds = sum(psutil.Process(service.pid).cpu_times()[:2]) - sum(began[:2])
        finally:
            print(f"\n{name}: others in a calm p99={calm:.1f} ms; meanwhile")
            for each, row in bystanders.noticed.rows().items():
                print(f"  {each:8} {row}")
            allowed = bound(extreme.fills, extreme.connections, extreme.settings)
            print(f"  memory   {memory.calm // MIB} to {memory.most // MIB} MiB, allowed {allowed // MIB} MiB")
            print(f"  service  {cpu_seconds / FLOOD_SECONDS:.0%} of a core; attackers: {outcomes}")
    assert sum(outcomes.get(outcome, 0) for outcome in extreme.expected) >= extreme.least * bool(extreme.expected)
    assert not [outcome for outcome in outcomes if outcome == "500" or outcome.startswith("failed")], outcomes
    assert memory.most < allowed
    for values in (bystanders.noticed.publish, bystanders.noticed.connect, bystanders.noticed.deliver):
        assert len(values) >= LEAST_NOTICED
        assert at(values, 0.99) < P99_MILLISECONDS * FAR_BEYOND


async def secrets_of(service: ServiceProcess, extreme: Extreme) -> tuple[str | None, str]:
    """The keys of the bystanders and of the attackers, where they need one."""
    if extreme.settings.get("auth") != "keys":
        return None, ""
    made = [await make_key(service.database_url, EVERYTHING_GRANTED, name=name) for name in ("others", "attackers")]
    await known(service.url, *[key.secret for key in made])
    return made[0].secret, "" if extreme.is_stranger else made[1].secret
