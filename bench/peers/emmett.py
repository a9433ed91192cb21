"""emmett's event store for PostgreSQL, by its Node package.

Comparable: durability, the same PostgreSQL, versions of streams. Not comparable: tags are metadata without an index,
each request writes a stream of its own, inline projections are not used. Consumers poll: live delivery is measured
with their defaults, history with pages of 1 000 without a pause, which they allow.
"""

from bench.peers.columns import Column
from bench.peers.peer import Peer
from bench.peers.place import Place, need_command, need_node_package, node_script

_HISTORY_FACTS = 20_000


def _need() -> None:
    need_command("node", "nodejs")
    need_node_package("@event-driven-io/emmett-postgresql")


PEER = Peer(
    name="emmett",
    notes=f"tags are metadata without an index; consumers poll; history of {_HISTORY_FACTS} facts at most",
    need=_need,
    open=Place.database,
    driver=node_script("emmett"),
    not_measured={Column.FAN_OUT: "each consumer polls the database by itself"},
    history_facts_max=_HISTORY_FACTS,
)
