"""Keep tickets and sessions, by their digests.

Safe beside running services of the version before, which know neither.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = """
create table factwire.tickets (
  digest bytea primary key,
  principal text not null,
  query bytea not null,
  expires_at timestamptz not null
);
create index tickets_by_end on factwire.tickets (expires_at);
create table factwire.sessions (
  digest bytea primary key,
  principal text not null,
  expires_at timestamptz not null
);
create index sessions_by_end on factwire.sessions (expires_at)
"""


def upgrade() -> None:
    for statement in TABLES.split(";"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop table factwire.sessions")
    op.execute("drop table factwire.tickets")
