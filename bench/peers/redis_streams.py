"""Redis Streams with an append-only file that is synced before each answer.

Comparable: durability, one order, batches as transactions, live reads. Not comparable: one index only, the id, so
that tags and type are fields that nothing can search; the history is in memory; no conditions and no check of ids.
The client is raw, like Factwire's.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.peers.peer import Peer
from bench.peers.place import Place, need_command, new_directory, own_driver
from bench.processes import free_port

_COMMAND, _PACKAGE = "redis-server", "redis-server"


def _need() -> None:
    need_command(_COMMAND, _PACKAGE)


@asynccontextmanager
async def _open(place: Place) -> AsyncIterator[str]:
    with new_directory() as directory:
        port = free_port()
        command = [
            need_command(_COMMAND, _PACKAGE),
            "--bind",
            "127.0.0.1",
            "--port",
            str(port),
            "--dir",
            str(directory),
        ]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        async with place.server(command, port):
            yield str(port)


PEER = Peer(
    name="Redis Streams",
    notes="appendfsync always; tags and type are fields without an index",
    need=_need,
    open=_open,
    driver=own_driver("redis_streams"),
)
