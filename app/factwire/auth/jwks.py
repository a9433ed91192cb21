"""JWKS of an issuer: its signing keys, fetched in the background, and kept while the issuer is unavailable."""

import asyncio
import json
import logging
import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from factwire.domain.errors import Unavailable
from factwire.setting_values import check_address
from factwire.telemetry.logs import describe_error

log = logging.getLogger(__name__)

REST_SECONDS = 10.0
KEYS_MAX = 100
RSA_BITS_MIN = 2048
KINDS: dict[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


class Issuer:
    """Source of the JWKS of an issuer: a given URL, or the one that its configuration names."""

    def __init__(self, name: str, *, jwks_url: str | None = None) -> None:
        self.name = name
        self._jwks_url = jwks_url

    async def fetch_keys(self, client: httpx.AsyncClient) -> KeySet:
        """Fetch the usable keys. Raises FetchFailed, also if no key can verify a token."""
        url = self._jwks_url or await self._discover(client)
        document = await fetch_document(client, url)
        keys = usable_keys(document.get("keys"))
        if not keys:
            raise FetchFailed(f"{url} contains no key that could sign a token")
        return keys

    async def _discover(self, client: httpx.AsyncClient) -> str:
        """URL of the JWKS (OpenID Connect Discovery 1.0, section 4)."""
        url = f"{self.name.removesuffix('/')}/.well-known/openid-configuration"
        configuration = await fetch_document(client, url)
        if configuration.get("issuer") != self.name:
            raise FetchFailed(f"{url} is the configuration of another issuer")
        found = configuration.get("jwks_uri")
        if not isinstance(found, str):
            raise FetchFailed(f"{url} names no jwks_uri")
        return found


class SigningKeys:
    """Signing keys, fetched at an interval, and earlier if a token names an unknown key.

    Fetching is single-flight: the issuer gets one request for all such tokens, and then none for a while. A request
    waits only if its own key is missing. While the issuer is unavailable, the last keys stay valid for a bounded time.
    """

    def __init__(
        self,
        issuer: Issuer,
        *,
        refresh_seconds: float,
        keep_seconds: float,
        on_changed: Callable[[], None],
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._issuer = issuer
        self._refresh_seconds = refresh_seconds
        self._keep_seconds = keep_seconds
        self._rest_seconds = rest_seconds
        self._on_changed = on_changed
        self._keys = KeySet([])
        self._thumbprints: frozenset[str] = frozenset()
        self._fetched_at = -math.inf
        self._failing = True
        self._resting = False
        self._requested = asyncio.Event()
        self._tried = asyncio.Event()

    @property
    def hold(self) -> bool:
        """True if the last keys are fresh enough to trust."""
        return time.monotonic() - self._fetched_at < self._keep_seconds

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Key of a token; None if the issuer has no such key. Raises Unavailable if this cannot be determined."""
        key = self._known(kid, algorithm)
        if key is None and not self._resting:
            self._requested.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._tried.wait(), 2 * FETCH_SECONDS + 1)
            key = self._known(kid, algorithm)
        if key is None and self._failing:
            raise Unavailable("The keys of the issuer of the token cannot be fetched.")
        return key

    def publishes(self, thumbprint: str) -> bool:
        """True if the issuer still has a key, by its thumbprint (RFC 7638).

        Raises Unavailable if this cannot be determined.
        """
        if not self.hold:
            raise Unavailable("The keys of the issuer of the token cannot be fetched.")
        return thumbprint in self._thumbprints

    async def run(self) -> None:
        """Fetch keys until cancelled."""
        # In a thread: loading the certificates of the system takes a while.
        client = await asyncio.to_thread(httpx.AsyncClient, trust_env=self._issuer.name.startswith("https:"))
        async with client:
            while True:
                await self._fetch(client)
                await self._rest()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._requested.wait(), self._seconds_until_due())

    def _known(self, kid: str | None, algorithm: str) -> Key | None:
        if not self.hold:
            return None
        try:
            return self._keys.get_by_kid(kid, {"use": "sig", "alg": algorithm})
        except InvalidKeyIdError:
            return None

    async def _fetch(self, client: httpx.AsyncClient) -> None:
        try:
            keys = await self._issuer.fetch_keys(client)
        except FetchFailed as error:
            if not self._failing or self._fetched_at == -math.inf:
                log.warning("the keys of the issuer %s cannot be fetched: %s", self._issuer.name, error)
            self._failing = True
            return
        self._failing = False
        self._fetched_at = time.monotonic()
        if keys != self._keys:
            self._keys = keys
            self._thumbprints = frozenset(key.thumbprint() for key in keys)
            self._on_changed()

    async def _rest(self) -> None:
        """Wake the waiting requests, and let no request wait until the issuer may be asked again."""
        tried, self._tried = self._tried, asyncio.Event()
        self._resting = True
        self._requested.clear()
        tried.set()
        await asyncio.sleep(self._rest_seconds)
        self._resting = False

    def _seconds_until_due(self) -> float:
        return 0.0 if self._failing else self._refresh_seconds * random.uniform(0.8, 1.0)


def usable_keys(found: Any) -> KeySet:
    """The public keys of a JWKS that may verify signatures; entries that cannot be parsed are left out."""
    keys: list[Key] = []
    for each in found[:KEYS_MAX] if isinstance(found, list) else ():
        with suppress(JoseError, ValueError, TypeError, KeyError, AttributeError):
            key = KINDS[each["kty"]].import_key({**each, "kid": str(each["kid"])} if "kid" in each else each)
            if each.get("use", "sig") == "sig" and not is_weak(key):
                keys.append(key)
    return KeySet(keys)


def is_weak(key: Key) -> bool:
    return isinstance(key, RSAKey) and key.public_key.key_size < RSA_BITS_MIN


DOCUMENT_BYTES_MAX = 256 * 1024


FETCH_SECONDS = 5.0


# With compression, a small response could expand to a large document.
HEADERS = {"accept": "application/json", "accept-encoding": "identity"}


class FetchFailed(Exception):
    """The document could not be fetched; the message gives the reason."""


async def fetch_document(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """The JSON object at a URL, fetched by one request without following redirects. Raises FetchFailed."""
    try:
        check_address(url)
        async with asyncio.timeout(FETCH_SECONDS):
            document = json.loads(await read_document(client, url))
    except TimeoutError:
        raise FetchFailed(f"{url} did not answer within {FETCH_SECONDS:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise FetchFailed(f"{url}: {describe_error(error)}") from None
    if not isinstance(document, dict):
        raise FetchFailed(f"{url} is not a JSON object")
    return document


async def read_document(client: httpx.AsyncClient, url: str) -> bytes:
    body = b""
    async with client.stream("GET", url, headers=HEADERS, follow_redirects=False, timeout=FETCH_SECONDS) as answer:
        if answer.status_code != 200:
            raise FetchFailed(f"{url} answered {answer.status_code}")
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > DOCUMENT_BYTES_MAX:
                raise FetchFailed(f"{url} is larger than {DOCUMENT_BYTES_MAX} bytes")
    return body
