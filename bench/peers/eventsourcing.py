"""eventsourcing's DCB recorder for PostgreSQL, unconditional appends with three tags a fact.

Comparable: durability, a table of tags, NOTIFY at each append, the same PostgreSQL. Not comparable: ids are not
checked, type has no index of its own, unconditional appends take no lock and may become visible out of order. The
client is the library itself, in threads of one Python process.
"""

from bench.peers.columns import Column
from bench.peers.peer import Peer
from bench.peers.place import Place, need_python_package, peer_driver

PEER = Peer(
    name="eventsourcing",
    notes="DCB recorder without conditions, three tags a fact; one Python process is client and store",
    need=lambda: need_python_package("eventsourcing"),
    open=Place.database,
    driver=peer_driver("eventsourcing"),
    not_measured={Column.FAN_OUT: "each subscription takes a thread and database connections of its own"},
)
