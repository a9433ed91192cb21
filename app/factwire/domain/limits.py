"""Upper limits of everything that a request can ask for."""

from dataclasses import dataclass

NAME_LENGTH_MAX = 200
TEXT_LENGTH_MAX = 256
EVENT_TEXT_LENGTH_MAX = 2048  # of an attribute of a CloudEvent that is kept in meta
VALUES_MAX = 100
VALUES_OF_AN_ITEM = 10
VERSION_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request. The defaults are those of the contract."""

    facts_max: int = 1000
    body_bytes_max: int = 4 * 1024 * 1024
    payload_bytes_max: int = 1024 * 1024
    aggregate_ids_max: int = 32
    meta_keys_max: int = 32
    meta_values_max: int = 64
    postings_max: int = 10_000
    query_items_max: int = 100

    @property
    def query_total_values_max(self) -> int:
        """Maximum number of values in all items of a query or condition together: each of them is looked up."""
        return max(1000, VALUES_OF_AN_ITEM * self.query_items_max)
