"""nchan, a module of nginx that keeps messages in memory: a measure for fan-out over event streams, not a store.

Comparable: the same facts over event streams to as many subscribers. Not comparable: nothing is durable, and nothing
else is measured.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.peers.columns import Column
from bench.peers.peer import Peer
from bench.peers.place import Missing, Place, need_command, new_directory, own_driver
from bench.processes import free_port

_MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"))
_MODULE = "ngx_nchan_module.so"
_CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port};
    keepalive_requests 100000000;
    location = /publish {{ nchan_publisher; nchan_channel_id facts; }}
    location = /follow {{
      nchan_subscriber eventsource;
      nchan_channel_id facts;
      nchan_subscriber_first_message newest;
    }}
  }}
}}
"""


def _module() -> Path:
    for directory in _MODULES:
        if (directory / _MODULE).exists():
            return directory / _MODULE
    raise Missing("the nchan module is not installed: apt-get install libnginx-mod-nchan")


def _need() -> None:
    need_command("nginx", "nginx libnginx-mod-nchan")
    _module()


@asynccontextmanager
async def _open(place: Place) -> AsyncIterator[str]:
    with new_directory() as directory:
        directory.chmod(0o755)
        port = free_port()
        configuration = directory / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(module=_module(), directory=directory, port=port))
        nginx = need_command("nginx", "nginx libnginx-mod-nchan")
        async with place.server([nginx, "-c", str(configuration), "-p", str(directory)], port):
            yield str(port)


PEER = Peer(
    name="nchan",
    notes="in memory, not a store: only fan-out",
    need=_need,
    open=_open,
    driver=own_driver("nchan"),
    not_measured={column: "not a store" for column in Column if column is not Column.FAN_OUT},
)
