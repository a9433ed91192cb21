"""message-db: functions in the same PostgreSQL; its client is SQL, here prepared calls by asyncpg.

Comparable: durability, three indexes a message (id, stream, category), expected versions. Not comparable: a message
belongs to one stream and has no further tags; order holds within a category, so that the column of 32 clients has two
figures, for one category and for one of each client; a batch is a transaction of single calls. Consumers poll: it
delivers nothing.
"""

from bench.peers.columns import Column
from bench.peers.peer import Peer
from bench.peers.place import Place, need_node_package, own_driver

_POLLS = "consumers poll at an interval of their own"

PEER = Peer(
    name="message-db",
    notes="32 clients: all in one category to each in its own; order holds within a category",
    need=lambda: need_node_package("@eventide/message-db"),
    open=Place.database,
    driver=own_driver("message_db"),
    not_measured={Column.FAN_OUT: _POLLS, Column.LIVE: _POLLS},
    spreads=(1, 32),
)
