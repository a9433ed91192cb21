"""Leases of jobs, and effects of a publish: what is checked in the transaction of its append.

Safe beside running services of the version before: the function that they call by position takes one argument more,
which has a default.
"""

import re
from pathlib import Path

from alembic import op

revision = "1005"
down_revision = "1004"

INCLUDE = re.compile(r"^ *-- include (\w+)\n", re.MULTILINE)
SQL = Path(__file__).parent.parent / "sql"

CREATE_TABLE = """
create table factwire.job_leases (
  name text collate "C" primary key,
  holder uuid not null,
  fence bigint not null,
  until timestamptz not null
);
comment on table factwire.job_leases is 'Leases of jobs: one process does a job at a time.';
alter table factwire.keys add column expiry_recorded_at timestamptz;
create index keys_by_unrecorded_expiry on factwire.keys (expires_at)
 where revoked_at is null and expiry_recorded_at is null;
update factwire.keys set expiry_recorded_at = expires_at where expires_at <= now()
"""

APPEND_ARGUMENTS = """
  integer[], uuid[], text[], text[], integer[], bytea, bytea, integer[], integer[], text[], integer[],
  text[], text[], text[], integer[], integer[], uuid[], integer[], integer[], bigint[], uuid[], text[],
  text[], text[], integer, double precision, text[], uuid[], bytea, integer[], integer[], integer, bigint,
  uuid, text[], uuid[], bytea[], text[], text[], integer, integer
"""

REGISTER_ARGUMENTS = "integer[], text[], text[], integer[], text[], integer, integer, integer[]"

NEW = ("take_job_lease_v1", "renew_job_lease_v1", "refuse_effects_v1", "apply_effects_v1")

DROP_NEW = """
drop function factwire.append_plain(
  uuid[], text[], text[], integer[], bytea, bytea, integer[], integer[], text[], integer[], text[], text[], text[],
  integer[], integer, bigint, uuid);
drop function factwire.apply_effects(jsonb, integer[], timestamptz);
drop function factwire.refuse_effects(jsonb, integer[]);
drop function factwire.renew_job_lease(text, uuid, bigint, double precision);
drop function factwire.take_job_lease(text, uuid, double precision);
drop table factwire.job_leases;
alter table factwire.keys drop column expiry_recorded_at
"""


def upgrade() -> None:
    execute_each(CREATE_TABLE)
    for name in NEW:
        execute_file(name)
    op.execute(f"drop function factwire.register_kinds({REGISTER_ARGUMENTS})")
    execute_file("register_kinds_v2")
    op.execute(f"drop function factwire.append({APPEND_ARGUMENTS})")
    execute_file("append_v2")
    execute_file("append_plain_v1")


def downgrade() -> None:
    op.execute(f"drop function factwire.append({APPEND_ARGUMENTS}, jsonb)")
    execute_file("append_v1")
    op.execute(f"drop function factwire.register_kinds({REGISTER_ARGUMENTS})")
    execute_file("register_kinds_v1")
    execute_each(DROP_NEW)


def execute_file(name: str) -> None:
    """Run a file of alembic/sql. A line `-- include NAME` stands for the text of another file."""
    statement = INCLUDE.sub(lambda line: (SQL / f"{line[1]}.sql").read_text(), (SQL / f"{name}.sql").read_text())
    op.get_bind().exec_driver_sql(statement)


def execute_each(statements: str) -> None:
    for statement in statements.split(";"):
        op.execute(statement)
