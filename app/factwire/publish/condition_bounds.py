"""Bounds of conditions that are given as the id of a fact: they get their positions before the request is queued."""

from factwire.domain.condition import Condition
from factwire.store.log import resolve
from factwire.store.pools import Pools


async def resolve_bounds(pools: Pools, condition: Condition, tenant: str) -> Condition:
    """The condition with a cursor for each bound. Raises FactNotFound for an id that its author may not read."""
    async with pools.read(tenant) as connection:
        cursors = {
            bound: (await resolve(connection, bound.id, bound.readable)).cursor for bound in set(condition.unresolved)
        }
    return condition.resolved(cursors)
