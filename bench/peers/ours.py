"""Factwire as shipped and its floor, by the scenarios of `python -m bench`.

The floor delivers what it has just committed; its fan-out is pushed without a database, its history is COPY.
"""

from collections.abc import Callable
from functools import partial

from bench.client import Unexpected
from bench.measuring import Sample
from bench.peers.columns import Column, Row
from bench.peers.options import SUBSCRIBERS
from bench.peers.peer import fill
from bench.peers.place import Place
from bench.scenarios import history, live, publish
from bench.site import Phase, Scenario, Site

FLOOR = "floor"
FACTWIRE = "Factwire"

_SIDES: dict[str, Callable[[Scenario], Phase]] = {
    FLOOR: lambda scenario: scenario.floor,
    FACTWIRE: lambda scenario: scenario.service,
}
_NOTES = {
    FLOOR: "one table without checks, tags or conditions; fan-out is pushed without a database, history is COPY",
    FACTWIRE: "four postings a fact; history is a stream that catches up",
}
_NAMES = {
    Column.ONE_CLIENT: ("One client publishes one fact per request",),
    Column.MANY_CLIENTS: ("32 clients publish one fact per request",),
    Column.BATCHES: ("One client publishes 100 facts per request", "4 clients publish 100 facts per request"),
    Column.HISTORY: ("A stream catches up with",),
    Column.FAN_OUT: (f"Single facts fan out to {SUBSCRIBERS} streams at full speed",),
    Column.LIVE: ("100 facts a second reach one stream",),
}


async def measure(store: str, place: Place) -> Row:
    options = place.options.of_scenarios()
    site = Site(place.cluster, options)
    every = [*publish.scenarios(), *history.scenarios(), *live.scenarios(options)]
    row = Row(store, notes=_NOTES[store])
    for column, names in _NAMES.items():
        await fill(row, column, partial(_figures, store, site, every, names))
    return row


async def _figures(store: str, site: Site, every: list[Scenario], names: tuple[str, ...]) -> list[float]:
    samples = [await _SIDES[store](_named(every, name))(site) for name in names]
    return [value for sample in samples for value in _values(sample)]


def _values(sample: Sample) -> list[float]:
    return list(sample.values.values())


def _named(every: list[Scenario], name: str) -> Scenario:
    """An exact name comes before one that only begins so."""
    found = sorted((each for each in every if each.name.startswith(name)), key=lambda each: len(each.name))
    if not found:
        raise Unexpected(f"no scenario is named {name!r}")
    return found[0]
