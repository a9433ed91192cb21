"""Look the kinds of a condition up in a hash, and only where its tags do not lead to few facts already.

Safe beside running services of the version before: they call the same function.
"""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"

SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    op.get_bind().exec_driver_sql((SQL / "choose_postings_v2.sql").read_text())


def downgrade() -> None:
    text = (SQL / "choose_postings_v1.sql").read_text()
    op.get_bind().exec_driver_sql(text.replace("create function", "create or replace function", 1))
