"""Format of API keys: `fw_<id>_<secret>`. The service stores only a digest of a key.

The prefix lets secret scanners find leaked keys, and the checksum at the end lets them skip texts that only look like a
key.
"""

from hashlib import sha256
from secrets import choice
from string import ascii_letters, digits
from zlib import crc32

PREFIX = "fw_"
ALPHABET = digits + ascii_letters
ID_CHARACTERS = 12
SECRET_CHARACTERS = 43  # 256 bits
CHECKSUM_CHARACTERS = 6
KEY_CHARACTERS = len(PREFIX) + ID_CHARACTERS + 1 + SECRET_CHARACTERS + CHECKSUM_CHARACTERS


def new_id() -> str:
    return random_text(ID_CHARACTERS)


def new_key(id: str) -> str:
    """A new key in plain text, to be shown once."""
    text = f"{PREFIX}{id}_{random_text(SECRET_CHARACTERS)}"
    return text + checksum(text)


def is_key(token: str) -> bool:
    """True if a token could be a key, mistyped or not."""
    return token.startswith(PREFIX)


def digest(secret: str) -> bytes:
    """Digest of a secret, for storage. 256 random bits, or a signature, need no salt and no slow hash."""
    return sha256(secret.encode(errors="replace")).digest()


def checksum(text: str) -> str:
    number, characters = crc32(text.encode()), ""
    for _ in range(CHECKSUM_CHARACTERS):
        number, place = divmod(number, len(ALPHABET))
        characters += ALPHABET[place]
    return characters


def random_text(length: int) -> str:
    return "".join(choice(ALPHABET) for _ in range(length))
