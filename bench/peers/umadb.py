"""UmaDB: a store of its own with tags, types and conditions; its Python wheel holds client and server.

Comparable: each append is synced before it is acknowledged, appends that wait are committed together, facts carry
three tags. Not comparable: types are kept but not indexed, ids are not checked, and the client is a library over gRPC
in threads of one Python process, so that the client limits the columns of many clients and of fan-out.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.peers.peer import Peer
from bench.peers.place import PEERS_VENV, Place, need_python_package, new_directory, peer_driver
from bench.processes import free_port


@asynccontextmanager
async def _open(place: Place) -> AsyncIterator[str]:
    with new_directory() as directory:
        port = free_port()
        command = [str(PEERS_VENV / "umadb"), "--listen", f"127.0.0.1:{port}", "--db-path", str(directory / "db")]
        async with place.server(command, port):
            yield f"http://127.0.0.1:{port}"


PEER = Peer(
    name="UmaDB",
    notes="three tags a fact; the Python client limits the columns of many clients and of fan-out",
    need=lambda: need_python_package("umadb"),
    open=_open,
    driver=peer_driver("umadb"),
)
