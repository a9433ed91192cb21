"""The network of the run: its own loopback, on which packets can be refused, dropped and slowed down by port."""

import subprocess
from collections.abc import Iterable

import psutil

TABLE = "inet faults"


def prepare_loopback() -> None:
    """Bring up the interface, with the packets of a usual network, and a table for the rules."""
    _run("ip", "link", "set", "lo", "mtu", "1500", "up")
    _run("nft", "add", "table", *TABLE.split())
    _run("nft", f"add chain {TABLE} input {{ type filter hook input priority 0; }}")


def forbid(*rules: str) -> None:
    for rule in rules:
        _run("nft", f"add rule {TABLE} input {rule}")


def heal() -> None:
    _run("nft", f"flush chain {TABLE} input")


def reset(ports: Iterable[int]) -> tuple[str, str]:
    """Rules that end every connection with these ports, and let no new one come about."""
    named = _set(ports)
    return f"tcp dport {named} reject with tcp reset", f"tcp sport {named} reject with tcp reset"


def silence(ports: Iterable[int]) -> tuple[str, str]:
    """Rules that lose every packet from and to these ports: nobody is told."""
    named = _set(ports)
    return f"tcp dport {named} drop", f"tcp sport {named} drop"


def slowed(ports: Iterable[int], kibibytes_second: int) -> str:
    """A rule that loses what these ports send beyond a rate."""
    return f"tcp sport {_set(ports)} limit rate over {kibibytes_second} kbytes/second drop"


def ports_connected_to(port: int, *, by: Iterable[psutil.Process] | None = None) -> list[int]:
    """The other ends of the connections that a port has now; only those of some processes, if they are given."""
    pids = None if by is None else {process.pid for process in by}
    return [
        connection.laddr.port
        for connection in psutil.net_connections("tcp")
        if connection.laddr and connection.raddr and connection.raddr.port == port
        if pids is None or connection.pid in pids
    ]


def _set(ports: Iterable[int]) -> str:
    return f"{{ {', '.join(map(str, sorted(set(ports))))} }}"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=10)
