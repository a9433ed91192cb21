"""In-memory cache of all valid API keys, so that authentication needs no database round trip."""

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType

from factwire.auth.authenticator import SEND_CREDENTIALS
from factwire.auth.key_format import digest, is_key
from factwire.domain.errors import Unauthenticated, Unavailable
from factwire.domain.grants import Grants, grants_from
from factwire.domain.principal import Principal
from factwire.store.api_keys import LiveSecret, keys_version, live_secrets, note_uses
from factwire.store.pools import Pools, is_standby

log = logging.getLogger(__name__)

NAME = "key:"
POLL_SECONDS = 2.0
KEEP_SECONDS = 300.0
NOTE_SECONDS = 60.0


class KeyCache:
    """Reads the keys again when their version grows.

    While the database is unavailable, the last keys stay valid for a bounded time.
    """

    def __init__(
        self,
        pools: Pools,
        *,
        poll_seconds: float = POLL_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
        note_seconds: float = NOTE_SECONDS,
        warns: bool = True,
    ) -> None:
        self._pools = pools
        self._poll_seconds = poll_seconds
        self._keep_seconds = keep_seconds
        self._note_seconds = note_seconds
        self._warns = warns
        self._version: int | None = None
        self._grants: Mapping[str, Grants] = {}
        self._by_digest: Mapping[bytes, Principal] = MappingProxyType({})
        self._by_name: Mapping[str, Principal] = MappingProxyType({})
        self._by_credential: Mapping[str, Principal] = MappingProxyType({})
        self._seen_at = -math.inf
        self._used: dict[str, float] = {}
        self._loaded = asyncio.Event()
        self.on_changed: Callable[[], None] = lambda: None

    def accepts(self, token: str) -> bool:
        return is_key(token)

    def known(self, token: str) -> Principal | None:
        """Principal of a key that is certainly valid now, according to this process; None for any other key."""
        # The look-up is by digest and not by secret: its duration reveals nothing about the existing secrets.
        principal = self._by_digest.get(digest(token)) if self._is_fresh() else None
        if principal is None or (principal.expires_at or math.inf) <= time.time():
            return None
        self._used[principal.name] = time.time()
        return principal

    async def verify(self, token: str) -> Principal:
        """Principal of a key. Raises Unauthenticated, and Unavailable if this cannot be determined."""
        principal = self.known(token)
        if principal is None and not self._is_fresh():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._loaded.wait(), self._poll_seconds)
            principal = self.known(token)
        if principal is None:
            self._refuse_stale()
            # The same message for every invalid key, and for a missing one.
            raise Unauthenticated(SEND_CREDENTIALS)
        return principal

    def current(self, principal: Principal) -> Principal | None:
        """Current state of the principal of a key; None if the key was revoked or has ended.

        A principal that used one of two secrets of a key ends with that secret, even if the other one is valid. Raises
        Unavailable.
        """
        self._refuse_stale()
        if principal.credential:
            return self._by_credential.get(principal.credential)
        return self._by_name.get(principal.name)

    def _refuse_stale(self) -> None:
        if not self._is_fresh():
            raise Unavailable("Keys cannot be checked while the database is away.")

    async def run(self) -> None:
        """Keep the cache fresh and record the uses of keys, until cancelled."""
        noted_at = time.monotonic()
        while True:
            try:
                await self.refresh()
                if time.monotonic() - noted_at >= self._note_seconds:
                    noted_at = time.monotonic()
                    await self._note_uses()
            except Unavailable as error:
                log.debug("the keys could not be read: %s", error.detail)
            await asyncio.sleep(self._poll_seconds)

    async def refresh(self) -> None:
        """Bring the cache up to date with the database. Raises Unavailable."""
        asked_at = time.monotonic()
        async with self._pools.watch.acquire() as connection:
            if await keys_version(connection) != self._version:
                version, secrets = await live_secrets(connection)
                self._take(version, secrets)
        self._seen_at = asked_at
        self._loaded.set()

    def _take(self, version: int, secrets: Sequence[LiveSecret]) -> None:
        # Grants that were parsed before are not parsed again: with many keys that would delay the requests.
        read = self._grants
        self._grants = {text: read.get(text) or grants_from(json.loads(text)) for text in {s.grants for s in secrets}}
        by_digest = {secret.digest: principal_of(secret, self._grants[secret.grants]) for secret in secrets}
        by_name: dict[str, Principal] = {}
        for principal in by_digest.values():
            # If a key has two secrets, the one that is valid longer determines the expiry of the principal.
            other = by_name.get(principal.name)
            if other is None or (principal.expires_at or math.inf) > (other.expires_at or math.inf):
                by_name[principal.name] = principal
        self._by_credential = {principal.credential: principal for principal in by_digest.values()}
        self._version, self._by_digest, self._by_name = version, by_digest, by_name
        self.on_changed()
        if not secrets and self._warns:
            log.warning("there is no valid key: create one with `factwire keys create`")

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._seen_at < self._keep_seconds

    async def _note_uses(self) -> None:
        used, self._used = self._used, {}
        if used:
            uses = {name.removeprefix(NAME): datetime.fromtimestamp(at, UTC) for name, at in used.items()}
            async with self._pools.watch.acquire() as connection:
                if not await is_standby(connection):
                    await note_uses(connection, uses)


def principal_of(secret: LiveSecret, grants: Grants) -> Principal:
    expires_at = None if secret.expires_at is None else secret.expires_at.timestamp()
    credential = f"{NAME}{secret.digest.hex()}"
    return Principal(f"{NAME}{secret.key_id}", grants, expires_at, credential)
