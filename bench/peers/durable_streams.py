"""The reference server of Durable Streams with its files, by raw HTTP.

Comparable: each append is synced, delivery over event streams, JSON facts, arrays as batches. Not comparable: a
stream is the only index, tags are not searchable, no ids and no conditions. Appends to one stream wait for each
other, so that the column of 32 clients has two figures, for one stream and for one of each client.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.peers.peer import Peer
from bench.peers.place import Place, need_command, need_node_package, new_directory, node_script, own_driver
from bench.processes import free_port


def _need() -> None:
    need_command("node", "nodejs")
    need_node_package("@durable-streams/server")


@asynccontextmanager
async def _open(place: Place) -> AsyncIterator[str]:
    with new_directory() as directory:
        port = free_port()
        command = [*node_script("durable_streams_server"), str(port), str(directory)]
        async with place.server(command, port):
            yield str(port)


PEER = Peer(
    name="durable-streams",
    notes="32 clients: all on one stream to each on its own; no tags",
    need=_need,
    open=_open,
    driver=own_driver("durable_streams"),
    spreads=(1, 32),
)
