"""Upper limits of everything that a request can ask for."""

from dataclasses import dataclass

NAME_LENGTH_MAX = 200
TEXT_LENGTH_MAX = 256
ITEMS_MAX = 32
VALUES_MAX = 100
VERSION_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one publish request. The defaults are those of the contract."""

    facts_max: int = 1000
    body_bytes_max: int = 4 * 1024 * 1024
    payload_bytes_max: int = 1024 * 1024
    aggregate_ids_max: int = 32
    meta_keys_max: int = 32
    meta_values_max: int = 64
    postings_max: int = 10_000
