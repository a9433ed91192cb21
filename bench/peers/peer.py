"""A peer as the run sees it: how a store of it is opened for one phase, and which driver works on it."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial

from bench.client import Unexpected
from bench.peers.columns import Column, Row
from bench.peers.job import Job, Outcome, Phase
from bench.peers.options import SUBSCRIBERS
from bench.peers.place import Missing, Place

Opening = Callable[[Place], AbstractAsyncContextManager[str]]
Figures = Awaitable[list[float]]

_CLIENTS = 32
_BATCH_CLIENTS = (1, 4)
_BATCH_FACTS = 100


@dataclass(frozen=True, slots=True)
class Peer:
    """`open` yields the address of an empty store; `spreads` are numbers of streams for the column of 32 clients."""

    name: str
    notes: str
    need: Callable[[], None]
    open: Opening
    driver: list[str]
    not_measured: dict[Column, str] = field(default_factory=dict)
    spreads: tuple[int, ...] = (1,)
    history_facts_max: int = 1_000_000


async def measure(peer: Peer, place: Place) -> Row:
    """A row in any case: what fails is in it by name, and the rest goes on."""
    row = Row(peer.name, not_measured=dict(peer.not_measured), notes=peer.notes)
    try:
        peer.need()
    except Missing as missing:
        row.missing = str(missing)
        return row
    for column, figures in _columns(peer, place).items():
        if column not in peer.not_measured:
            await fill(row, column, figures)
    return row


async def fill(row: Row, column: Column, figures: Callable[[], Figures]) -> None:
    try:
        row.figures[column] = await figures()
    except (Unexpected, OSError, TimeoutError) as problem:
        row.failed[column] = " ".join(str(problem).split())[-400:] or type(problem).__name__


def _columns(peer: Peer, place: Place) -> dict[Column, Callable[[], Figures]]:
    return {
        Column.ONE_CLIENT: partial(_published, peer, place, ((1, 1, 1),)),
        Column.MANY_CLIENTS: partial(_published, peer, place, tuple((_CLIENTS, 1, each) for each in peer.spreads)),
        Column.BATCHES: partial(_published, peer, place, tuple((each, _BATCH_FACTS, 1) for each in _BATCH_CLIENTS)),
        Column.HISTORY: partial(_history, peer, place),
        Column.FAN_OUT: partial(_fan_out, peer, place),
        Column.LIVE: partial(_live, peer, place),
    }


async def _published(peer: Peer, place: Place, shapes: tuple[tuple[int, int, int], ...]) -> list[float]:
    return [
        _rate(await _run(peer, place, "publish", clients=clients, facts_per_request=facts, streams=streams))
        for clients, facts, streams in shapes
    ]


async def _history(peer: Peer, place: Place) -> list[float]:
    facts = min(place.options.facts, peer.history_facts_max)
    return [_rate(await _run(peer, place, "history", facts=facts))]


async def _fan_out(peer: Peer, place: Place) -> list[float]:
    return [_rate(await _run(peer, place, "fan_out", subscribers=SUBSCRIBERS))]


async def _live(peer: Peer, place: Place) -> list[float]:
    outcome = await _run(peer, place, "live")
    return [outcome.p50_ms, outcome.p99_ms]


async def _run(peer: Peer, place: Place, phase: Phase, **shape: int) -> Outcome:
    async with peer.open(place) as address:
        options = place.options
        job = Job(phase, address, options.seconds, options.warm_up_seconds, workload=str(place.workload), **shape)
        return await place.drive(peer.driver, job)


def _rate(outcome: Outcome) -> float:
    return outcome.count / outcome.seconds
