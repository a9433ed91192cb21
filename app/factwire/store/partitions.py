"""Partitions ahead of the head: the room in them, and the creation of the next one."""

from factwire.store.connection import Connection
from factwire.store.rows import required_row

CREATE_PARTITION = "select factwire.create_partition($1)"

ROOM = "select factwire.partitioned_until() - 1 - factwire.head() as room, partition_facts from factwire.log"


async def read_room(connection: Connection) -> tuple[int, int]:
    """Number of facts that still fit into the existing partitions, and number of facts per partition."""
    row = required_row(await connection.fetchrow(ROOM))
    return row["room"], row["partition_facts"]


async def create_partition(connection: Connection, *, room: int) -> int | None:
    """Create the next partition unless `room` positions are left. None while another process creates one."""
    covered_until: int | None = await connection.fetchval(CREATE_PARTITION, room)
    return covered_until
