"""Keep of tickets and sessions from which session they came, so that they end with it.

Safe beside running services of the version before: those that they lend came from no session, as far as anybody knows.
"""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    for table in ("tickets", "sessions"):
        op.execute(
            f"alter table factwire.{table} add column session bytea"
            " references factwire.sessions (digest) on delete cascade"
        )
        op.execute(f"create index {table}_by_session on factwire.{table} (session)")


def downgrade() -> None:
    for table in ("tickets", "sessions"):
        op.execute(f"alter table factwire.{table} drop column session")
