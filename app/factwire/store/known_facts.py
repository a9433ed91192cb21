"""Facts that are stored already: positions and digests by id, for retries and conflicts."""

from collections.abc import Sequence
from dataclasses import dataclass

from factwire.domain.errors import HistoryForked
from factwire.domain.fact import utc
from factwire.domain.position import Position
from factwire.store.connection import Connection

KNOWN_FACTS = """
select k.id, k.position, k.digest, f.published_at, l.epoch, r.position is not null as redacted,
       l.forked_at is not null as forked, l.forked_after
  from factwire.log l
  join factwire.fact_ids k on k.id = any ($1)
  left join factwire.facts f on f.position = k.position
  left join factwire.redactions r on r.position = k.position
"""

WAIT_FOR_STANDBY = "select factwire.wait_for_standby()"

FACT_ID_AT = "select id from factwire.facts where position = $1"


@dataclass(frozen=True, slots=True)
class KnownFact:
    """Fact with an id that is stored already. `published_at`: None if the fact itself was archived."""

    position: Position
    digest: bytes
    published_at: str | None
    epoch: int
    redacted: bool


async def read_known_facts(connection: Connection, ids: Sequence[str]) -> dict[str, KnownFact]:
    """Facts that are stored under the given ids. Raises HistoryForked if a fork was detected."""
    rows = await connection.fetch(KNOWN_FACTS, list(ids))
    if any(row["forked"] for row in rows):
        raise HistoryForked(forked_after=rows[0]["forked_after"])
    return {
        str(row["id"]): KnownFact(
            row["position"],
            row["digest"],
            row["published_at"] and utc(row["published_at"]),
            row["epoch"],
            row["redacted"],
        )
        for row in rows
    }


async def wait_for_standby(connection: Connection) -> None:
    """Wait until the synchronous standby, if there is one, has everything that is committed."""
    await connection.fetchval(WAIT_FOR_STANDBY)


async def fact_id_at(connection: Connection, position: Position) -> str | None:
    id = await connection.fetchval(FACT_ID_AT, position)
    return None if id is None else str(id)
