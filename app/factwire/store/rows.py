"""Required rows: those that every log has."""

from asyncpg import Record

from factwire.domain.errors import Unavailable

HIDDEN = "The row of the log cannot be seen: a dump is being restored, or row security hides it."


def required_row(row: Record | None) -> Record:
    """Return a row that every log has. Raises Unavailable if it is not visible."""
    if row is None:
        raise Unavailable(HIDDEN)
    return row
