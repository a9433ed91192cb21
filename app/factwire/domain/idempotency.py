"""Ids of facts that are published with an idempotency key instead (draft-ietf-httpapi-idempotency-key-header)."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

SEPARATOR = b"\x00"  # in no name of a principal, and in no key
UUID_BYTES = 16


@dataclass(frozen=True, slots=True)
class KeyedIds:
    """Ids that a key gives to the facts of a request, in order, and the one that a further fact would have.

    If a fact has that one, the key was used for a request with more facts: this one is no retry of it.
    """

    ids: Sequence[str]
    next_id: str


def keyed_ids(secret: bytes, *, principal: str, key: str, count: int) -> KeyedIds:
    """Ids from a secret of the log, so that a key alone does not allow to compute, and so to occupy, the ids of others.

    UUIDs of version 8 (RFC 9562, section 5.8), of HMAC-SHA256.
    """
    text = SEPARATOR.join([principal.encode(), key.encode("latin-1")])
    ids = [keyed_id(secret, text, place) for place in range(count + 1)]
    return KeyedIds(ids[:-1], ids[-1])


def keyed_id(secret: bytes, text: bytes, place: int) -> str:
    return str(uuid8(hmac.digest(secret, SEPARATOR.join([b"%d" % place, text]), "sha256")))


def uuid8(digest: bytes) -> UUID:
    """The first bytes of a digest, with the version and variant of a UUID."""
    number = int.from_bytes(digest[:UUID_BYTES])
    number = number & ~(0xF000 << 64) | 0x8000 << 64
    number = number & ~(0xC000 << 48) | 0x8000 << 48
    return UUID(int=number)
