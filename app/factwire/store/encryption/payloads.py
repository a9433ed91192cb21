"""Sealed payloads of facts about data subjects: encrypted on their way into the log, decrypted on their way out."""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import uuid4

import asyncpg
import msgspec
from cryptography.exceptions import InvalidTag

from factwire.domain.errors import InternalError
from factwire.domain.fact import CONTENT_AT, NewFact, split_document
from factwire.domain.position import Position
from factwire.store.connection import Connection
from factwire.store.encryption.keys import DataKey, MasterKeys, WrappedKey, decrypt, encrypt

READ_SEALS = """
select position, data_subject, seal, key_id, wrapped_key, master_key, erased
  from factwire.read_seals($1, $2)
"""

READ_KEYS = """
select id, key_id, wrapped_key, master_key, erased_at is not null as erased
  from factwire.data_subjects
 where id = any ($1)
"""

MAC_BYTES = 32
WITHOUT_PAYLOAD = b"null}"
UNREADABLE = b'"unreadable":true}'
ERASED = b',"erased":true}'
REDACTED = b',"redacted":true}'


@dataclass(frozen=True, slots=True)
class StoredDataKey:
    """Stored key of a data subject, with None as `key` if it was erased. A new one is stored with its first fact."""

    key_id: str
    key: WrappedKey | None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Seal:
    """Stored form of a sealed payload, with the key that opens it unless its data subject was erased.

    The first bytes are a digest of the fact with its payload; nothing follows them if the payload was redacted.
    """

    data_subject: str
    content: bytes
    stored: StoredDataKey | None
    erased: bool

    @property
    def mac(self) -> bytes:
        return self.content[:MAC_BYTES]

    @property
    def redacted(self) -> bool:
        return len(self.content) == MAC_BYTES


def new_stored_key(key: WrappedKey) -> StoredDataKey:
    return StoredDataKey(str(uuid4()), key, is_new=True)


def seal_payload(fact: NewFact, key: DataKey, *, new_key: WrappedKey | None = None) -> NewFact:
    """Convert a fact to its stored form, together with the key of its data subject if that is a new one.

    Its digest covers the part that stays readable, and a digest of the whole fact with a key that is erased with the
    data subject: the rest can still be verified, and the erased part cannot be guessed. The payload is bound to the
    fact's id.
    """
    before, payload = split_document(fact.document)
    mac = keyed_digest(fact.document, key)
    document = before + WITHOUT_PAYLOAD
    return msgspec.structs.replace(
        fact,
        document=document,
        digest=sealed_digest(document, mac),
        key_id=key.id,
        seal=mac + encrypt(key.encrypting, payload, fact.id.encode()),
        new_key=() if new_key is None else (new_key.wrapped, new_key.master_key),
    )


def keyed_digest(document: bytes, key: DataKey) -> bytes:
    return hmac.digest(key.digesting, document[CONTENT_AT:-1], sha256)


def sealed_digest(document: bytes, mac: bytes) -> bytes:
    """Digest of a fact, from its document without the payload and the keyed digest of the whole."""
    return sha256(document[CONTENT_AT:-1] + mac).digest()


class PayloadDecryptor:
    """Decryptor of the sealed payloads of one page, which unwraps each key once."""

    def __init__(self, master_keys: MasterKeys) -> None:
        self._master_keys = master_keys
        self._keys: dict[str, DataKey] = {}

    def opened(self, fact: bytes, id: str, position: Position, seal: Seal | None) -> bytes:
        """A fact as it is sent, with any prefix before its document. Raises KeyUnavailable or InternalError."""
        if seal is None or fact.endswith(UNREADABLE):
            return fact
        if seal.erased:
            return fact[:-1] + ERASED
        if seal.redacted:
            # The seal may have been read a moment after the document.
            return fact if fact.endswith(REDACTED) else fact[:-1] + REDACTED
        try:
            payload = decrypt(self.key_of(seal).encrypting, seal.content[MAC_BYTES:], id.encode())
        except InvalidTag:
            raise InternalError(f"The payload at position {position} was changed: run `factwire verify`.") from None
        return fact[: -len(WITHOUT_PAYLOAD)] + payload + b"}"

    def key_of(self, seal: Seal) -> DataKey:
        key = self._keys.get(seal.data_subject)
        if key is None:
            if seal.stored is None or seal.stored.key is None:
                raise InternalError(f"The key of the data subject {seal.data_subject} is gone: run `factwire verify`.")
            key = self._master_keys.unwrap(seal.data_subject, seal.stored.key_id, seal.stored.key)
            self._keys[seal.data_subject] = key
        return key


async def read_seals(connection: Connection, positions: Sequence[Position], *, bytes_max: int) -> dict[Position, Seal]:
    """Read the seals of the facts at some positions, from the first on: as many as fit, and at least one."""
    rows = await connection.fetch(READ_SEALS, list(positions), bytes_max)
    return {
        row["position"]: Seal(
            row["data_subject"],
            row["seal"],
            None if row["key_id"] is None else stored_key(row),
            bool(row["erased"]),
        )
        for row in rows
    }


async def read_keys(connection: Connection, data_subjects: Iterable[str]) -> Mapping[str, StoredDataKey]:
    rows = await connection.fetch(READ_KEYS, list(data_subjects))
    return {row["id"]: stored_key(row) for row in rows}


def stored_key(row: asyncpg.Record) -> StoredDataKey:
    wrapped = row["wrapped_key"]
    return StoredDataKey(str(row["key_id"]), None if wrapped is None else WrappedKey(wrapped, row["master_key"]))
