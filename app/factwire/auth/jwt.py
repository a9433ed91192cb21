"""JSON Web Tokens of one issuer: verified with its keys, and cached until they expire."""

import json
import math
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from factwire.auth.claims import ClaimGrants, Claims
from factwire.auth.jwks import Issuer, SigningKeys
from factwire.auth.key_format import digest
from factwire.domain.errors import Unauthenticated
from factwire.domain.principal import Principal

NAME = "jwt:"
TYPES = {"", "jwt", "at+jwt", "application/jwt", "application/at+jwt"}
TOKEN_BYTES_MAX = 16 * 1024
VERIFIED_MAX = 10_000
SUBJECT_CHARACTERS_MAX = 200
LATEST = 253_402_300_799  # the end of the year 9999


@dataclass(frozen=True, slots=True)
class ExpectedClaims:
    """Claims that a token must have to be accepted."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    leeway_seconds: int

    @property
    def claims(self) -> JWTClaimsRegistry:
        return JWTClaimsRegistry(
            leeway=self.leeway_seconds,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.audience},
            sub={"essential": True},
            exp={"essential": True},
        )


class PinnedAlgorithms(JWSRegistry):
    """The algorithms that the settings name; the algorithm that a token asks for cannot add any."""

    max_header_length = 4096

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()) or name.startswith(("HS", "none")):
            raise UnsupportedAlgorithmError("the algorithm is not allowed")
        return self.algorithms[name]


class JwtAuthenticator:
    """Verifies tokens. A verified token costs one cache look-up until it expires or the keys change."""

    def __init__(self, expected: ExpectedClaims, keys: SigningKeys, grants: ClaimGrants) -> None:
        self._expected = expected
        self._claims = expected.claims
        self._keys = keys
        self._grants = grants
        self._registry = PinnedAlgorithms(algorithms=expected.algorithms, strict_check_header=False)
        self._verified: dict[bytes, Principal] = {}
        self._rules = digest(
            json.dumps([expected.issuer, expected.audience, expected.algorithms, grants.form], sort_keys=True)
        ).hex()
        self._host = urlsplit(expected.issuer).hostname or expected.issuer

    def accepts(self, token: str) -> bool:
        """True if a text could be a JSON Web Token."""
        return token.count(".") == 2

    def known(self, token: str) -> Principal | None:
        """Principal of a token that was verified before and is still valid; None for any other token."""
        principal = self._verified.get(digest(token))
        if principal is None or not self._keys.hold or (principal.expires_at or math.inf) <= time.time():
            return None
        return principal

    async def verify(self, token: str) -> Principal:
        """Principal of a token. Raises Unauthenticated, and Unavailable if the keys of the issuer cannot be fetched."""
        principal = self.known(token)
        if principal is None:
            claims, thumbprint = await self._verified_claims(token)
            principal = self._principal(claims, thumbprint)
            self._keep(token, principal)
        return principal

    def current(self, principal: Principal) -> Principal | None:
        """The same principal; None if its signing key was withdrawn or the settings have changed.

        Raises Unavailable if the keys of the issuer cannot be fetched.
        """
        rules, _, thumbprint = principal.credential.partition(":")
        holds = rules == self._rules and self._keys.publishes(thumbprint)
        return principal if holds and principal.name.startswith(f"{NAME}{self._host}:") else None

    async def run(self) -> None:
        """Keep the keys of the issuer fresh until cancelled."""
        await self._keys.run()

    def forget(self) -> None:
        """Verify every token again: the keys have changed, perhaps because one was stolen."""
        self._verified.clear()

    async def _verified_claims(self, token: str) -> tuple[Claims, str]:
        """The claims of a token after verification, and the thumbprint of the key that signed it."""
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise Unauthenticated("Not a valid token, or too large.")
        try:
            signed = jws.extract_compact(token.encode(), registry=self._registry)
            header = signed.headers()
            check_header(header)
            self._registry.get_alg(str(header["alg"]))
            key = await self._keys.find(header.get("kid"), header["alg"])
            if key is None or not jws.validate_compact(signed, key, registry=self._registry):
                raise Unauthenticated("The token is not signed by its issuer.")
            claims = decode_claims(signed.payload)
            self._claims.validate(claims)
        except UnsupportedAlgorithmError:
            raise Unauthenticated("The token is signed with an algorithm that is not allowed.") from None
        except JoseError as error:
            raise Unauthenticated(f"The token is not valid: {error.description or error.error}.") from None
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError):
            raise Unauthenticated("The token cannot be read.") from None
        return claims, key.thumbprint()

    def _principal(self, claims: Claims, thumbprint: str) -> Principal:
        subject = claims["sub"]
        if len(subject) > SUBJECT_CHARACTERS_MAX or not subject.isprintable():
            raise Unauthenticated("The subject of the token is too long, or not printable.")
        try:
            grants = self._grants.of(claims)
        except (ValueError, TypeError) as error:
            raise Unauthenticated(f"The claim {self._grants.claim} of the token contains no grants: {error}.") from None
        expires_at = float(min(claims["exp"], LATEST)) + self._expected.leeway_seconds
        credential = f"{self._rules}:{thumbprint}"
        return Principal(f"{NAME}{self._host}:{subject}", grants, expires_at, credential)

    def _keep(self, token: str, principal: Principal) -> None:
        if len(self._verified) >= VERIFIED_MAX:
            del self._verified[next(iter(self._verified))]
        self._verified[digest(token)] = principal


def new_tokens(
    expected: ExpectedClaims, grants: ClaimGrants, *, jwks_url: str | None, refresh_seconds: float, keep_seconds: float
) -> JwtAuthenticator:
    """JwtAuthenticator of an issuer with its keys, which are fetched once the authenticator runs."""
    keys = SigningKeys(
        Issuer(expected.issuer, jwks_url=jwks_url),
        refresh_seconds=refresh_seconds,
        keep_seconds=keep_seconds,
        on_changed=lambda: tokens.forget(),
    )
    tokens = JwtAuthenticator(expected, keys, grants)
    return tokens


def check_header(header: dict[str, Any]) -> None:
    """Refuse a token that the issuer signed for another purpose, or that must be read by other rules (`crit`)."""
    if "crit" in header or str(header.get("typ", "")).lower() not in TYPES:
        raise Unauthenticated("The token is of another kind.")


def decode_claims(payload: bytes | None) -> dict[str, Any]:
    claims = json.loads(payload or b"")
    if not isinstance(claims, dict):
        raise ValueError
    return claims
