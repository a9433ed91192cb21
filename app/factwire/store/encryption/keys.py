"""Envelope encryption: master keys, which the database never sees, wrap the data keys, one per data subject."""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from factwire.domain.errors import KeyUnavailable

KEY_BYTES = 32
NONCE_BYTES = 12
WRAPPED_FOR = b"factwire data key\x00"


class MasterKeyRefused(Exception):
    """Configured master keys that are missing, unreadable or not valid."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """The two keys of a data subject: one to encrypt its payloads, and one to digest them."""

    id: str
    encrypting: AESGCM
    digesting: bytes


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it is stored. `master_key` is the fingerprint of the key that wrapped it."""

    wrapped: bytes
    master_key: str


class MasterKeys:
    """The master keys that a process was given: the first wraps, all unwrap.

    A key is identified by its fingerprint, so that keys need no numbers. Its 256 bits are random: eight bytes of a hash
    reveal nothing about them.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {fingerprint(key): AESGCM(key) for key in keys}
        self.current = next(iter(self._keys), None)

    def __bool__(self) -> bool:
        return self.current is not None

    @property
    def fingerprints(self) -> list[str]:
        return list(self._keys)

    def new_key(self, data_subject: str) -> WrappedKey:
        """Create a random data key, wrapped."""
        return self._wrap(data_subject, os.urandom(2 * KEY_BYTES))

    def unwrap(self, data_subject: str, key_id: str, key: WrappedKey) -> DataKey:
        """Unwrap a data key. Raises KeyUnavailable if no master key of this process opens it."""
        plain = self._unwrap(data_subject, key)
        return DataKey(key_id, AESGCM(plain[:KEY_BYTES]), plain[KEY_BYTES:])

    def rewrap(self, data_subject: str, key: WrappedKey) -> WrappedKey:
        """Wrap the same data key with the current master key."""
        return self._wrap(data_subject, self._unwrap(data_subject, key))

    def _wrap(self, data_subject: str, plain: bytes) -> WrappedKey:
        if self.current is None:
            raise KeyUnavailable("This process has no master key.")
        return WrappedKey(encrypt(self._keys[self.current], plain, WRAPPED_FOR + data_subject.encode()), self.current)

    def _unwrap(self, data_subject: str, key: WrappedKey) -> bytes:
        master = self._keys.get(key.master_key)
        if master is None:
            raise KeyUnavailable(f"This process was not given the master key {key.master_key}.")
        try:
            return decrypt(master, key.wrapped, WRAPPED_FOR + data_subject.encode())
        except InvalidTag:
            raise KeyUnavailable(f"The stored key of the data subject {data_subject} was changed.") from None


NO_KEYS = MasterKeys(())


def encrypt(key: AESGCM, plain: bytes, bound_to: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, bound_to)


def decrypt(key: AESGCM, cipher: bytes, bound_to: bytes) -> bytes:
    """Decrypt bytes. Raises InvalidTag if they were not encrypted with this key and bound to the same context."""
    return key.decrypt(cipher[:NONCE_BYTES], cipher[NONCE_BYTES:], bound_to)


def fingerprint(key: bytes) -> str:
    return sha256(b"factwire master key\x00" + key).hexdigest()[:16]


def new_master_key() -> str:
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def load_master_keys(text: str, file: Path | None) -> MasterKeys:
    """Load the configured master keys: from the text itself, or from a file. Raises MasterKeyRefused."""
    if file is None:
        return MasterKeys(parse_master_keys(text))
    try:
        keys = parse_master_keys(file.read_text())
    except OSError as error:
        raise MasterKeyRefused(f"the master keys cannot be read: {error}") from None
    except UnicodeDecodeError:
        raise MasterKeyRefused(f"the master keys cannot be read: {file} is no text") from None
    if not keys:
        raise MasterKeyRefused(f"{file} contains no master key")
    return MasterKeys(keys)


def parse_master_keys(text: str) -> list[bytes]:
    """Parse keys of 32 bytes in base64, separated by white space or commas. The error contains none of them."""
    keys = []
    for number, word in enumerate(text.replace(",", " ").split(), 1):
        try:
            key = base64.b64decode(word, validate=True)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise MasterKeyRefused(
                f"master key {number} is not {KEY_BYTES} bytes in base64: `factwire master-key new` creates one"
            )
        keys.append(key)
    return keys
