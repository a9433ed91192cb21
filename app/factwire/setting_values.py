"""Parsers and validators of setting values: lists, networks, addresses, and values that are read from files."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from factwire.postgres_url import target_of

# Secrets, which orchestrators mount as files.
FROM_FILES = ("database_url", "listen_url", "key", "tls_key_password")
FILE_BYTES_MAX = 64 * 1024


def split_commas(text: str | None) -> tuple[str, ...]:
    """Values of a comma-separated setting."""
    return tuple(part for part in map(str.strip, (text or "").split(",")) if part)


def networks(text: str | None) -> tuple[IPv4Network | IPv6Network, ...]:
    """Networks from comma-separated addresses and networks. Raises ValueError if one is invalid."""
    return tuple(ip_network(part) for part in split_commas(text))


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_address(url: str) -> str:
    """Return a URL with answers that cannot be changed in transit (HTTPS or loopback). Raises ValueError otherwise."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.password or parts.fragment:
        raise ValueError("expected a URL with a host, and without a user, a password and a fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("expected a URL that begins with https:// (http:// is for loopback addresses)")
    return url


def check_database_url(url: str) -> None:
    """Check the parts of a database URL that are wrong most often.

    Raises ValueError if one is wrong. The message does not repeat the URL, as it may contain a password.
    """
    try:
        parts = urlsplit(url)
        ports = [host.rpartition(":")[2] for host in parts.netloc.rpartition("@")[2].split(",") if ":" in host]
    except ValueError:
        parts, ports = None, []
    if parts is None or parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError("expected a URL that begins with postgresql://")
    if parts.fragment or not all(port.isdecimal() or port.endswith("]") for port in ports):
        raise ValueError("write the characters #, /, ?, : and @ of the password as %23, %2F, %3F, %3A and %40")
    target_of(url)


def with_secret_files(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, including those read from files. Raises ValueError if one is empty, given twice or cannot be read.

    An empty variable was meant to have a value: without the URL of the database, the facts would go elsewhere, and
    without an authentication mode, the service would be open to every client.
    """
    for name, value in given.items():
        if isinstance(value, str) and not value.strip():
            raise ValueError(f"FACTWIRE_{name.upper()}: is empty: give it a value, or unset it")
    read = {name: value_of(name, given) for name in FROM_FILES if given.get(f"{name}_file") is not None}
    return {**given, **read}


def value_of(name: str, given: Mapping[str, Any]) -> str:
    """Content of the file of a setting. Raises ValueError if it is empty, unreadable, or set directly as well."""
    variable = f"FACTWIRE_{name.upper()}"
    if given.get(name) is not None:
        raise ValueError(f"{variable}_FILE: {variable} is set as well: use one of them")
    try:
        with Path(given[f"{name}_file"]).open(encoding="utf-8") as file:
            text = file.read(FILE_BYTES_MAX).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"{variable}_FILE: {given[f'{name}_file']} cannot be read: {reason}") from None
    if not text:
        raise ValueError(f"{variable}_FILE: {given[f'{name}_file']} is empty")
    return text
