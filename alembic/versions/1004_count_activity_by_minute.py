"""Roll up the number of facts by minute, where counts are folded, so that activity is read without the facts.

Safe beside running services of the version before: they fold counts with the same call. Facts that were counted before
are added by the next runs, a part in each.
"""

from pathlib import Path

from alembic import op

revision = "1004"
down_revision = "1003"

SQL = Path(__file__).parent.parent / "sql"

CREATE = """
create table factwire.activity (
  namespace text collate "C",
  minute timestamptz,
  type text collate "C",
  facts bigint not null,
  primary key (namespace, minute, type)
);
comment on table factwire.activity is 'Counts of facts by minute and type, up to activity_through in counted.';
alter table factwire.counted add column activity_through bigint not null default 0
"""

DROP = """
drop function factwire.counted_until();
drop function factwire.read_activity(text[], timestamptz, timestamptz, integer, integer, integer, integer);
alter table factwire.counted drop column activity_through;
drop table factwire.activity
"""


def upgrade() -> None:
    for statement in CREATE.split(";"):
        op.execute(statement)
    for name in ("fold_counts_v2", "read_activity_v1", "counted_until_v1"):
        op.get_bind().exec_driver_sql((SQL / f"{name}.sql").read_text())


def downgrade() -> None:
    statement = (SQL / "fold_counts_v1.sql").read_text()
    op.get_bind().exec_driver_sql(statement.replace("create function", "create or replace function", 1))
    for statement in DROP.split(";"):
        op.execute(statement)
