"""PostgreSQL timelines: the server that holds the log, and the one on which its history was last known to be whole.

A promotion begins a timeline, and so does a point-in-time restore; a new server has another system identifier. Either
may have lost commits, or none. A change that leaves no such mark is not detected here: a dump that is restored into its
own server, or a disk that is put back to an older state.
"""

from dataclasses import dataclass

import asyncpg

from factwire.store.connection import Connection
from factwire.store.read_tail import Fork
from factwire.store.rows import required_row

# The name of a WAL file begins with its timeline, in hexadecimal; the control file has that of the last checkpoint.
# https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-BACKUP
PRESENT_SERVER = """
select c.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer as timeline
  from pg_control_system() c
 where not pg_is_in_recovery()
"""

KEPT = """
select epoch, forked_at is not null as forked, forked_after, system_identifier, timeline
  from factwire.log
"""

CONFIRM = """
update factwire.log
   set system_identifier = $1, timeline = $2
 where forked_at is null
   and epoch = $3
   and system_identifier is not distinct from $4
   and timeline is not distinct from $5
returning epoch
"""

KEEP_SERVER = """
update factwire.log
   set system_identifier = $1, timeline = $2
 where forked_at is null
returning epoch
"""

# The role lacks the privilege, the server has no such functions, or it is in recovery.
UNANSWERED = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedFunctionError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)


@dataclass(frozen=True, slots=True)
class ServerTimeline:
    """A server that accepts writes, from one promotion or restore to the next."""

    system_identifier: int
    timeline: int

    def change_to(self, other: "ServerTimeline") -> str:
        """Short description of the change."""
        if other.system_identifier == self.system_identifier:
            return f"timeline {self.timeline} -> {other.timeline}"
        return f"server {self.system_identifier} -> {other.system_identifier}"


@dataclass(frozen=True, slots=True)
class KeptHistory:
    """Stored state of the history: the server on which it was last known to be whole, and a detected fork."""

    epoch: int
    server: ServerTimeline | None
    fork: Fork | None


async def read_server(connection: Connection) -> ServerTimeline | None:
    """Timeline of the server of a connection; None if the server does not report it, as on a standby."""
    try:
        row = await connection.fetchrow(PRESENT_SERVER)
    except UNANSWERED:
        return None
    return None if row is None else ServerTimeline(row["system_identifier"], row["timeline"])


async def read_kept(connection: Connection) -> KeptHistory:
    row = required_row(await connection.fetchrow(KEPT))
    known = row["system_identifier"] is not None and row["timeline"] is not None
    return KeptHistory(
        row["epoch"],
        ServerTimeline(row["system_identifier"], row["timeline"]) if known else None,
        Fork(row["forked_after"]) if row["forked"] else None,
    )


async def confirm(connection: Connection, server: ServerTimeline, *, instead_of: KeptHistory) -> bool:
    """Store a server in place of another one; False if the log has changed, or a fork was detected, since."""
    confirmed = await connection.fetchval(CONFIRM, *parts_of(server), instead_of.epoch, *parts_of(instead_of.server))
    return confirmed is not None


async def keep_server(connection: Connection, server: ServerTimeline | None) -> bool:
    """Store a server in place of any other; None lets a process store the next one. False if a fork was detected."""
    return await connection.fetchval(KEEP_SERVER, *parts_of(server)) is not None


def parts_of(server: ServerTimeline | None) -> tuple[int | None, int | None]:
    return (None, None) if server is None else (server.system_identifier, server.timeline)
