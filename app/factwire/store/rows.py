"""Rows that every log has."""

from asyncpg import Record

from factwire.domain.errors import Unavailable

HIDDEN = "The row of the log cannot be seen: a dump is being restored, or row security hides it."


def required_row(row: Record | None) -> Record:
    """A row that is there wherever a log is. Raises Unavailable where it cannot be seen."""
    if row is None:
        raise Unavailable(HIDDEN)
    return row
