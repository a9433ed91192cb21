"""Keep API keys: what they grant, and digests of their secrets.

Safe beside running services of the version before, which know no keys.
"""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"

# The version grows with every change, so that a process knows at a glance whether its keys are the newest.
STATEMENTS = (
    """
    create table factwire.keys (
      id text collate "C" primary key,
      name text not null,
      grants jsonb not null,
      created_at timestamptz not null default clock_timestamp(),
      expires_at timestamptz,
      revoked_at timestamptz,
      last_used_at timestamptz
    )
    """,
    """
    create table factwire.key_secrets (
      digest bytea primary key,
      key_id text collate "C" not null references factwire.keys (id),
      created_at timestamptz not null default clock_timestamp(),
      expires_at timestamptz
    )
    """,
    "create index ix_factwire_key_secrets_key_id on factwire.key_secrets (key_id)",
    """
    create table factwire.keys_version (
      one boolean primary key default true check (one),
      version bigint not null default 0
    )
    """,
    "insert into factwire.keys_version default values",
)

FUNCTIONS = ("keep_key", "count_key_change")

TRIGGERS = (
    "create trigger keep_key before update on factwire.keys for each row execute function factwire.keep_key()",
    """
    create trigger keep_keys before delete or truncate on factwire.keys
      for each statement execute function factwire.keep_key()
    """,
    """
    create trigger count_change after insert or update of revoked_at on factwire.keys
      for each statement execute function factwire.count_key_change()
    """,
    """
    create trigger count_change after insert or update or delete or truncate on factwire.key_secrets
      for each statement execute function factwire.count_key_change()
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    sql = Path(__file__).parent.parent / "sql"
    for name in FUNCTIONS:
        op.get_bind().exec_driver_sql((sql / f"{name}_v1.sql").read_text())
    for statement in TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    for table in ("key_secrets", "keys", "keys_version"):
        op.execute(f"drop table factwire.{table}")
    for name in FUNCTIONS:
        op.execute(f"drop function factwire.{name}")
