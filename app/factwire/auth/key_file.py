"""API keys of a file, for deployments that are described by files: names, secrets or their digests, and grants.

The file is TOML. It is read again when it changes, or one of the secret files that it names.
"""

import asyncio
import logging
import math
import os
import re
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from factwire.auth.authenticator import SEND_CREDENTIALS
from factwire.auth.key_format import digest
from factwire.domain.errors import Unauthenticated
from factwire.domain.grants import ACTIONS, Grants, new_namespace_set
from factwire.domain.limits import VALUES_MAX
from factwire.domain.principal import Principal

log = logging.getLogger(__name__)

KIND = "file-key"
POLL_SECONDS = 2.0
FILE_BYTES_MAX = 4 * 1024 * 1024
SECRET_BYTES_MAX = 4096
SECRET_LENGTH_MIN = 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
MEMBERS = frozenset({"sha256", "secret_file", "expires_at", *ACTIONS})


class KeyFileRefused(ValueError):
    """The file of keys cannot be used; the message names the key and the fault, and no secret."""


@dataclass(frozen=True, slots=True)
class FileKeys:
    """FileKeys of a file by the digests of their secrets, and the state of all files that they were read from."""

    by_digest: Mapping[bytes, Principal] = field(default_factory=dict)
    seen: Mapping[Path, tuple[int, ...]] = field(default_factory=dict)


class KeyFile:
    """Authenticator for the keys of a file. A faulty new file is logged, and the previous keys stay in use."""

    def __init__(self, path: Path, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._path = path
        self._poll_seconds = poll_seconds
        self._complaint = ""
        self.on_changed: Callable[[], None] = lambda: None
        self._take(read_keys(path))
        log.info("FACTWIRE_KEYS_FILE: %d keys were read", len(self._keys.by_digest))

    def accepts(self, token: str) -> bool:
        return digest(token) in self._keys.by_digest

    def known(self, token: str) -> Principal | None:
        principal = self._keys.by_digest.get(digest(token))
        return None if principal is None or (principal.expires_at or math.inf) <= time.time() else principal

    async def verify(self, token: str) -> Principal:
        """Principal of a key. Raises Unauthenticated."""
        principal = self.known(token)
        if principal is None:
            raise Unauthenticated(SEND_CREDENTIALS)
        return principal

    def current(self, principal: Principal) -> Principal | None:
        """Current state of the principal of a key; None once its secret is no longer in the file."""
        return self._by_credential.get(principal.credential)

    async def run(self) -> None:
        """Read the file again when it changes, until cancelled."""
        while True:
            await asyncio.sleep(self._poll_seconds)
            keys = await asyncio.to_thread(self._read_if_changed)
            if keys is not None:  # taken by the event loop: no request sees a part of the change
                self._take(keys)
                self.on_changed()
                log.info("FACTWIRE_KEYS_FILE: %d keys were read", len(keys.by_digest))

    def _read_if_changed(self) -> FileKeys | None:
        if not self._complaint and all(state(path) == seen for path, seen in self._keys.seen.items()):
            return None
        try:
            keys = read_keys(self._path)
        except KeyFileRefused as error:
            if str(error) != self._complaint:
                log.error("FACTWIRE_KEYS_FILE: %s; the previous keys stay in use", error)
            self._complaint = str(error)
            return None
        self._complaint = ""
        return keys

    def _take(self, keys: FileKeys) -> None:
        self._keys = keys
        self._by_credential = {each.credential: each for each in keys.by_digest.values()}


def read_keys(path: Path) -> FileKeys:
    """FileKeys of a file. Raises KeyFileRefused.

    The state of each file is from before it is read: a change meanwhile is noticed at the next look.
    """
    seen = {path: state(path)}
    try:
        document = tomllib.loads(read_text(path, FILE_BYTES_MAX))
    except tomllib.TOMLDecodeError as error:
        raise KeyFileRefused(f"{path}: {error}") from None
    entries = document.get("keys", {})
    if document.keys() - {"keys"} or not isinstance(entries, dict):
        raise KeyFileRefused(f"{path}: expected tables [keys.NAME] and nothing else")
    by_digest: dict[bytes, Principal] = {}
    for name, entry in entries.items():
        check_members(path, name, entry)
        if "secret_file" in entry:
            secret_file = path.parent / str(entry["secret_file"])
            seen[secret_file] = state(secret_file)
            secret = digest_of_file(name, secret_file)
        else:
            secret = digest_of(path, name, entry)
        if secret in by_digest:
            raise KeyFileRefused(f"{path}: {name} has the secret of {by_digest[secret].name.partition(':')[2]}")
        by_digest[secret] = principal_of(path, name, entry, secret)
    return FileKeys(by_digest, seen)


def check_members(path: Path, name: str, entry: Any) -> None:
    """Raises KeyFileRefused."""
    if not NAME.fullmatch(name):
        raise KeyFileRefused(f"{path}: the name {name!r} has other characters than letters, digits and _.-")
    if not isinstance(entry, dict) or entry.keys() - MEMBERS:
        unknown = ", ".join(sorted(entry.keys() - MEMBERS)) if isinstance(entry, dict) else "it"
        raise KeyFileRefused(f"{path}: {name}: {unknown} is not one of {', '.join(sorted(MEMBERS))}")
    if ("sha256" in entry) == ("secret_file" in entry):
        raise KeyFileRefused(f"{path}: {name}: give either sha256 or secret_file")


def principal_of(path: Path, name: str, entry: Mapping[str, Any], secret: bytes) -> Principal:
    expires_at = entry.get("expires_at")
    if expires_at is not None and (not isinstance(expires_at, datetime) or expires_at.tzinfo is None):
        raise KeyFileRefused(f"{path}: {name}: expires_at is not a date and time with an offset")
    ends = None if expires_at is None else expires_at.timestamp()
    return Principal(f"{KIND}:{name}", grants_of(path, name, entry), ends, f"{KIND}:{secret.hex()}")


def digest_of(path: Path, name: str, entry: Mapping[str, Any]) -> bytes:
    if not isinstance(entry["sha256"], str) or not SHA256.fullmatch(entry["sha256"]):
        raise KeyFileRefused(f"{path}: {name}: sha256 is not a SHA-256 in 64 hexadecimal digits")
    return bytes.fromhex(entry["sha256"])


def digest_of_file(name: str, path: Path) -> bytes:
    secret = read_text(path, SECRET_BYTES_MAX).strip()
    if len(secret) < SECRET_LENGTH_MIN or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise KeyFileRefused(f"{path}: the secret of {name} is not {SECRET_LENGTH_MIN} or more visible characters")
    return digest(secret)


def grants_of(path: Path, name: str, entry: Mapping[str, Any]) -> Grants:
    """Grants of an entry: a list of patterns for each action, of which those after `!` are excluded."""
    sets = {}
    for action in ACTIONS:
        patterns = entry.get(action, [])
        if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
            raise KeyFileRefused(f"{path}: {name}: {action} is not a list of patterns")
        if len(patterns) > VALUES_MAX:
            raise KeyFileRefused(f"{path}: {name}: {action} has more than {VALUES_MAX} patterns")
        excluded = [each[1:] for each in patterns if each.startswith("!")]
        try:
            sets[action] = new_namespace_set([each for each in patterns if not each.startswith("!")], excluded)
        except ValueError as error:
            raise KeyFileRefused(f"{path}: {name}: {action}: {error}") from None
    return Grants(**sets)


def read_text(path: Path, bytes_max: int) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
        if len(content) > bytes_max:
            raise KeyFileRefused(f"{path} has more than {bytes_max} bytes")
        return content.decode()
    except OSError as error:
        raise KeyFileRefused(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KeyFileRefused(f"{path} is not text") from None


def state(path: Path) -> tuple[int, ...]:
    """State of a file. A link that was pointed elsewhere, as in a mounted Secret, is another file."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
