"""Single-use tickets: each opens one stream once, in any process."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from factwire.store.connection import Connection

# Tickets that are issued at the same time do not see each other: their excess is left to the next one. Rows that
# another process is deleting are skipped.
ISSUE_TICKET = """
with excess as materialized (
  select digest
    from factwire.tickets
   where expires_at > clock_timestamp()
     and starts_with(principal, $5)
   order by expires_at desc
  offset $6 - 1
), ended as (
  delete from factwire.tickets
   where digest in (select t.digest
                      from factwire.tickets t
                     where t.digest in (select digest from excess)
                       for update skip locked)
)
insert into factwire.tickets (digest, principal, query, expires_at, session)
values ($1, $2, $3, clock_timestamp() + $4, $7)
returning expires_at
"""

# The process that deletes the row has the ticket: a second process waits for the first one, and then finds no row.
USE_TICKET = """
delete from factwire.tickets
 where digest = $1
returning principal, query, expires_at > clock_timestamp() as holds, session
"""

# Rows that another process is deleting are skipped.
FORGET_TICKETS = """
delete from factwire.tickets
 where digest in (select t.digest
                    from factwire.tickets t
                   where t.expires_at < clock_timestamp()
                   limit $1
                     for update skip locked)
"""


@dataclass(frozen=True, slots=True)
class IssuedTicket:
    """Issued ticket: its principal and query as they were written, and the session from which it came, if any."""

    principal: str
    query: bytes
    session: bytes | None


async def issue_ticket(
    connection: Connection,
    digest: bytes,
    *,
    principal: str,
    query: bytes,
    owner: str,
    tickets_max: int,
    seconds: float,
    session: bytes | None,
) -> datetime:
    """Store a ticket and return when it expires. It ends at the latest with the session from which it came, if any.

    Of the tickets with a principal that begins with `owner`, those that would end first make room for it. Raises
    asyncpg.ForeignKeyViolationError if the session from which it came has ended.
    """
    expires_at: datetime = await connection.fetchval(
        ISSUE_TICKET, digest, principal, query, timedelta(seconds=seconds), owner, tickets_max, session
    )
    return expires_at


async def use_ticket(connection: Connection, digest: bytes) -> IssuedTicket | None:
    """Use up a ticket. None if it does not exist, was used before, or has ended."""
    row = await connection.fetchrow(USE_TICKET, digest)
    if row is None or not row["holds"]:
        return None
    return IssuedTicket(row["principal"], row["query"], row["session"])


async def delete_expired_tickets(connection: Connection, *, tickets_max: int) -> None:
    """Delete at most `tickets_max` tickets that were not used in time."""
    await connection.execute(FORGET_TICKETS, tickets_max)
