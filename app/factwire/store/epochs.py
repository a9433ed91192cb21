"""Epochs: the remedy after history was replaced, so that no cursor skips a fact, and the notice that asks for it."""

from uuid_utils import uuid7

from factwire.domain.audit import audit_fact
from factwire.domain.position import Position
from factwire.store.appending import append
from factwire.store.database import Connection
from factwire.store.reading_tail import Fork
from factwire.store.timelines import parts_of, read_server

# First of all, as whoever erases does: the other way round, they would wait for each other. And a statement of its own:
# the next one then sees every publish that was acknowledged before, so that none is above the head that it reads.
LOCK_LOG = "select factwire.lock_log()"

RAISE_EPOCH = """
with raised as (
  update factwire.log
     set epoch = epoch + 1, forked_at = null, forked_after = null, system_identifier = $2, timeline = $3
  returning epoch
)
insert into factwire.epochs (epoch, forked_after)
select epoch, least($1::bigint, factwire.head()) from raised
returning epoch, forked_after
"""

# The first notice stays, unless it did not know how much was lost.
KEEP_NOTICE = """
update factwire.log
   set forked_at = coalesce(forked_at, clock_timestamp()), forked_after = $2
 where epoch = $1 and (forked_at is null or (forked_after is null and $2::bigint is not null))
"""


async def raise_epoch(connection: Connection, *, forked_after: Position | None, by: str) -> tuple[int, Position]:
    """Begin a new epoch: older cursors stay good up to `forked_after` (default: the head).

    Its first fact is the one that tells of it. From then on facts are published again, on the server as it is.
    """
    # Outside the transaction, which a server that does not tell would end.
    server = await read_server(connection)
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(LOCK_LOG)
        upper = 2**63 - 1 if forked_after is None else forked_after
        row = await connection.fetchrow(RAISE_EPOCH, upper, *parts_of(server))
        assert row is not None
        raised = {"epoch": row["epoch"], "forked_after": row["forked_after"]}
        about = f"epoch:{row['epoch']}"
        await append(
            connection, [([audit_fact("EpochRaised", id=str(uuid7()), by=by, about=about, payload=raised)], None)]
        )
    return row["epoch"], row["forked_after"]


async def keep_notice(connection: Connection, *, epoch: int, fork: Fork) -> None:
    """Store that history was replaced, so that no process publishes until the epoch is raised."""
    await connection.execute(KEEP_NOTICE, epoch, fork.after)
