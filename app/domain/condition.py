"""Conditions: publish only if no fact matches a query after a position."""

from dataclasses import dataclass

from app.domain.position import Cursor
from app.domain.query import Query


@dataclass(frozen=True, slots=True)
class Condition:
    """No fact after the cursor may match any of the items. Each item has at least one part."""

    fail_if_match: Query
    after: Cursor
