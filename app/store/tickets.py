"""Tickets: each opens one stream once, whichever process it is shown to."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.store.database import Connection

# One of several that are issued at once does not see the others, whose excess is left to the next one. Rows that
# another process is deleting are left to it.
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
insert into factwire.tickets (digest, principal, query, expires_at)
values ($1, $2, $3, clock_timestamp() + $4)
returning expires_at
"""

# Whoever deletes the row has the ticket: a second process waits for the first one, and then finds nothing.
USE_TICKET = """
delete from factwire.tickets
 where digest = $1
returning principal, query, expires_at > clock_timestamp() as holds
"""

# Rows that another process is deleting are left to it.
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
    """Whose a ticket is, and for which query, both as they were written."""

    principal: str
    query: bytes


async def issue_ticket(
    connection: Connection,
    digest: bytes,
    *,
    principal: str,
    query: bytes,
    owner: str,
    tickets_max: int,
    seconds: float,
) -> datetime:
    """Keep a ticket, and return when it ends.

    Of the tickets whose principal begins with `owner`, the ones that would end first make room for it.
    """
    expires_at: datetime = await connection.fetchval(
        ISSUE_TICKET, digest, principal, query, timedelta(seconds=seconds), owner, tickets_max
    )
    return expires_at


async def use_ticket(connection: Connection, digest: bytes) -> IssuedTicket | None:
    """Use a ticket up. None if there is none, or it was used before, or has ended."""
    row = await connection.fetchrow(USE_TICKET, digest)
    return IssuedTicket(row["principal"], row["query"]) if row is not None and row["holds"] else None


async def forget_tickets(connection: Connection, *, tickets_max: int) -> None:
    """Delete tickets that nobody used in time."""
    await connection.execute(FORGET_TICKETS, tickets_max)
