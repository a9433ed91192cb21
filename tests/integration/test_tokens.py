"""Tokens: verified with the keys that a real issuer publishes, rotates and fails to publish."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from factwire.auth.claims import ClaimGrants
from factwire.auth.jwks import Issuer, SigningKeys
from factwire.auth.jwt import ExpectedClaims, JwtAuthenticator
from factwire.domain.errors import Unauthenticated, Unavailable
from factwire.domain.grants import Grants, new_namespace_set
from tests.support.issuer import AUDIENCE, IssuerServer, new_key
from tests.support.waiting import until

GRANTS = {"publish": {"include": ["shop"]}}
GRANTED = Grants(publish=new_namespace_set(["shop"]))
ALGORITHMS = ("RS256", "ES256", "EdDSA", "Ed25519")


@asynccontextmanager
async def verifying(
    issuer: IssuerServer,
    *,
    leeway_seconds: int = 0,
    rest_seconds: float = 0.05,
    refresh_seconds: float = 300,
    keep_seconds: float = 300,
) -> AsyncIterator[JwtAuthenticator]:
    tokens: JwtAuthenticator
    keys = SigningKeys(
        Issuer(issuer.url),
        refresh_seconds=refresh_seconds,
        keep_seconds=keep_seconds,
        rest_seconds=rest_seconds,
        on_changed=lambda: tokens.forget(),
    )
    expected = ExpectedClaims(issuer.url, AUDIENCE, ALGORITHMS, leeway_seconds)
    tokens = JwtAuthenticator(expected, keys, ClaimGrants("grants", {}))
    running = asyncio.create_task(keys.run())
    try:
        yield tokens
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_of_each_algorithm_tells_who_it_is_and_what_is_granted(
    algorithm: str, issuer: IssuerServer
) -> None:
    issuer.keys = [new_key(algorithm, "one")]
    async with verifying(issuer) as tokens:
        principal = await tokens.verify(issuer.token(grants=GRANTS, exp=4_000_000_000))
    assert principal.name == "jwt:127.0.0.1:alice"
    assert principal.grants == GRANTED
    assert principal.expires_at == 4_000_000_000


def unsigned(issuer: IssuerServer) -> str:
    signed = issuer.token().split(".")
    return ".".join([encoded({"alg": "none", "kid": "first"}), signed[1], ""])


def signed_with_the_public_key(issuer: IssuerServer) -> str:
    """The classic confusion: a secret that everybody knows, where a public key was meant."""
    secret = issuer.keys[0].as_pem(private=False)
    told = ".".join([encoded({"alg": "HS256", "kid": "first"}), issuer.token().split(".")[1]])
    return f"{told}.{base64_of(hmac.digest(secret, told.encode(), 'sha256'))}"


def altered(issuer: IssuerServer) -> str:
    head, payload, signature = issuer.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return ".".join([head, encoded(claims | {"sub": "mallory"}), signature])


def encoded(document: Any) -> str:
    return base64_of(json.dumps(document).encode())


def base64_of(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def of_another_key(issuer: IssuerServer) -> str:
    return issuer.token(new_key("ES256", "first"))


def critical(issuer: IssuerServer) -> str:
    header = {"alg": "ES256", "kid": "first", "b64": False, "crit": ["b64"]}
    return jws.serialize_compact(header, b"{}", issuer.keys[0], ["ES256"])


def with_header(header: Any) -> Callable[[IssuerServer], str]:
    return lambda issuer: ".".join([encoded(header), *issuer.token().split(".")[1:]])


def deep(issuer: IssuerServer) -> str:
    head, _, signature = issuer.token().split(".")
    return ".".join([head, base64_of(b"[" * 8000), signature])


STRANGE_HEADERS: tuple[Any, ...] = (
    "alg", ["alg"], 1, None, {}, {"alg": None}, {"alg": 5}, {"alg": ["ES256"]}, {"alg": "ES256"},
    {"alg": "ES256", "kid": 1}, {"alg": "ES256", "kid": ["first"]}, {"alg": "ES256", "kid": None, "typ": {}},
    {"alg": "ES256", "kid": "first", "typ": []}, {"alg": "ES256", "jwk": {}, "x5c": 1}, {"alg": "NONE", "kid": "first"},
    {"alg": "ES256", "kid": "first", "b64": False}, {"alg": "dir", "enc": "A128GCM"},
)  # fmt: skip
NOW = int(time.time())
REFUSED: dict[str, Callable[[IssuerServer], str]] = {
    "none": unsigned,
    "public key as secret": signed_with_the_public_key,
    "altered": altered,
    "another key": of_another_key,
    "critical": critical,
    "deep": deep,
    **{f"header {json.dumps(header)}": with_header(header) for header in STRANGE_HEADERS},
    "no token": lambda issuer: "what.ever.this",
    "empty parts": lambda issuer: "..",
    "not ASCII": lambda issuer: issuer.token() + "é",
    "too large": lambda issuer: issuer.token(filler="x" * 20_000),
    "expired": lambda issuer: issuer.token(exp=NOW - 60),
    "without an end": lambda issuer: issuer.token(exp=None),
    "end is text": lambda issuer: issuer.token(exp="9999999999"),
    "end is true": lambda issuer: issuer.token(exp=True),
    "end is not a number": lambda issuer: issuer.token(exp=float("nan")),
    "end is infinite": lambda issuer: issuer.token(exp=float("inf")),
    "not yet": lambda issuer: issuer.token(nbf=time.time() + 600),
    "issued in the future": lambda issuer: issuer.token(iat=time.time() + 600),
    "wrong audience": lambda issuer: issuer.token(aud="https://other.example"),
    "wrong audiences": lambda issuer: issuer.token(aud=["a", "b"]),
    "no audience": lambda issuer: issuer.token(aud=None),
    "wrong issuer": lambda issuer: issuer.token(iss="http://127.0.0.1"),
    "no issuer": lambda issuer: issuer.token(iss=None),
    "no subject": lambda issuer: issuer.token(sub=None),
    "empty subject": lambda issuer: issuer.token(sub=""),
    "subject is a number": lambda issuer: issuer.token(sub=1),
    "subject with a line break": lambda issuer: issuer.token(sub="a\nb"),
    "another kind": lambda issuer: issuer.token(header={"typ": "logout+jwt"}),
    "grants are none": lambda issuer: issuer.token(grants={"publsh": {}}),
    "grants are a number": lambda issuer: issuer.token(grants=1),
    "grants are no JSON": lambda issuer: issuer.token(grants="{"),
}


@pytest.mark.parametrize("forge", REFUSED.values(), ids=REFUSED.keys())
async def test_a_token_is_refused_that_does_not_hold(
    forge: Callable[[IssuerServer], str], issuer: IssuerServer
) -> None:
    async with verifying(issuer) as tokens:
        assert (await tokens.verify(issuer.token())).name
        forged = forge(issuer)
        with pytest.raises(Unauthenticated) as refusal:
            await tokens.verify(forged)
        assert tokens.known(forged) is None
    assert forged not in str(refusal.value)


@pytest.mark.parametrize("claims", [{"exp": -30}, {"nbf": 30}, {"iat": 30}])
async def test_clocks_may_differ_by_the_leeway(claims: dict[str, int], issuer: IssuerServer) -> None:
    claims = {name: int(time.time()) + seconds for name, seconds in claims.items()}
    async with verifying(issuer, leeway_seconds=120) as tokens:
        assert (await tokens.verify(issuer.token(**claims))).name
    async with verifying(issuer, leeway_seconds=0) as tokens:
        with pytest.raises(Unauthenticated):
            await tokens.verify(issuer.token(**claims))


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]])
async def test_the_audience_may_be_one_of_several(audience: Any, issuer: IssuerServer) -> None:
    async with verifying(issuer) as tokens:
        assert (await tokens.verify(issuer.token(aud=audience))).name


async def test_an_end_beyond_all_time_is_one_at_the_end_of_time(issuer: IssuerServer) -> None:
    async with verifying(issuer) as tokens:
        principal = await tokens.verify(issuer.token(exp=10**400))
    assert principal.expires_at == 253_402_300_799


async def test_a_verified_token_is_known_until_it_ends(issuer: IssuerServer) -> None:
    async with verifying(issuer) as tokens:
        token = issuer.token(exp=int(time.time()) + 2)
        assert tokens.known(token) is None
        principal = await tokens.verify(token)
        assert tokens.known(token) is principal
        await until(lambda: tokens.known(token) is None)
        with pytest.raises(Unauthenticated):
            await tokens.verify(token)


async def test_a_new_key_is_taken_as_soon_as_a_token_names_it_and_an_old_one_ends_with_its_publication(
    issuer: IssuerServer,
) -> None:
    async with verifying(issuer) as tokens:
        old = issuer.token()
        await tokens.verify(old)
        issuer.keys = [new_key("RS256", "second")]
        await asyncio.sleep(0.1)  # the time in which the issuer is not asked again
        assert (await tokens.verify(issuer.token())).name
        assert tokens.known(old) is None
        with pytest.raises(Unauthenticated):
            await tokens.verify(old)


async def test_keys_are_fetched_again_at_the_interval(issuer: IssuerServer) -> None:
    async with verifying(issuer, refresh_seconds=0.1) as tokens:
        old = issuer.token()
        await tokens.verify(old)
        issuer.keys = [new_key("ES256", "second")]
        await until(lambda: tokens.known(old) is None)


async def test_a_flood_of_unknown_keys_asks_the_issuer_once(issuer: IssuerServer) -> None:
    strangers = [issuer.token(header={"kid": f"unknown-{number}"}) for number in range(500)]
    async with verifying(issuer, rest_seconds=30) as tokens:
        await tokens.verify(issuer.token())
        asked = issuer.keys_asked
        outcomes = await asyncio.gather(*(tokens.verify(each) for each in strangers), return_exceptions=True)
        assert all(isinstance(outcome, Unauthenticated) for outcome in outcomes)
        assert issuer.keys_asked == asked == 1


async def test_many_tokens_that_wait_for_the_same_keys_ask_once(issuer: IssuerServer) -> None:
    fresh = [issuer.token(sub=f"user-{number}") for number in range(200)]
    async with verifying(issuer) as tokens:
        assert len(await asyncio.gather(*map(tokens.verify, fresh))) == 200
        assert issuer.keys_asked == 1


async def test_an_issuer_that_hangs_holds_up_nobody_whose_key_is_known(issuer: IssuerServer) -> None:
    async with verifying(issuer) as tokens:
        await tokens.verify(issuer.token())
        issuer.behaviour = "hang"
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(tokens.verify(issuer.token(header={"kid": "unknown"})))
        await until(lambda: issuer.asked["/.well-known/openid-configuration"] == 2)
        async with asyncio.timeout(1):
            assert (await tokens.verify(issuer.token(sub="bob"))).name
        assert not waiting.done()
        with pytest.raises(Unavailable):
            await waiting


@pytest.mark.parametrize("behaviour", ["fail", "flood", "redirect"])
async def test_keys_that_cannot_be_had_are_no_refusal(behaviour: Any, issuer: IssuerServer) -> None:
    issuer.behaviour = behaviour
    async with verifying(issuer, rest_seconds=0.2) as tokens:
        with pytest.raises(Unavailable):
            await tokens.verify(issuer.token())
        issuer.behaviour = "answer"
        await until(lambda: issuer.keys_asked > 0)
        await asyncio.sleep(0.05)
        assert (await tokens.verify(issuer.token())).name


async def test_the_last_keys_hold_for_a_bounded_time_while_the_issuer_is_away(issuer: IssuerServer) -> None:
    async with verifying(issuer, refresh_seconds=0.05, keep_seconds=1.5) as tokens:
        first = issuer.token()
        await tokens.verify(first)
        issuer.behaviour = "fail"
        asked = issuer.asked["/.well-known/openid-configuration"]
        await until(lambda: issuer.asked["/.well-known/openid-configuration"] > asked + 2)
        assert (await tokens.verify(issuer.token(sub="bob"))).name
        await until(lambda: tokens.known(first) is None)
        with pytest.raises(Unavailable):
            await tokens.verify(first)


@pytest.mark.parametrize("key", [{"use": "enc"}, {"alg": "ES384"}])
async def test_a_key_for_another_purpose_verifies_nothing(key: dict[str, str], issuer: IssuerServer) -> None:
    other = new_key("ES256", "other")
    issuer.keys.append(other)
    async with verifying(issuer) as tokens:
        assert (await tokens.verify(issuer.token(other))).name
    issuer.keys[1] = ECKey.import_key({**other.as_dict(private=False), **key})
    async with verifying(issuer) as tokens:
        with pytest.raises(Unauthenticated):
            await tokens.verify(issuer.token(other))


async def test_a_configuration_of_another_issuer_is_not_followed(issuer: IssuerServer) -> None:
    issuer.named = "https://other.example"
    async with verifying(issuer) as tokens:
        with pytest.raises(Unavailable):
            await tokens.verify(issuer.token())
    assert issuer.keys_asked == 0
