"""Create the log: its tables, the functions that append, walk and read, and the triggers that keep facts immutable.

Safe before the first deployment; nothing exists yet that it could lock.
"""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None

FUNCTIONS = (
    "refuse_change",
    "head",
    "covered_until",
    "create_partition",
    "next_postings",
    "has_tag",
    "choose_postings",
    "walk_item",
    "walk_query",
    "formed",
    "read_page",
    "read_tail",
    "check_conditions",
    "refuse_conditions",
    "keep_unrefused",
    "append_facts",
    "fold_counts",
    "count_facts",
    "last_before",
)

TABLES = """
create table factwire.log (
  one boolean primary key default true check (one),
  identity uuid not null default gen_random_uuid(),
  lock_key bigint not null,
  epoch integer not null default 1,
  floor bigint not null default 0,
  partition_facts bigint not null default 10000000
);
create table factwire.epochs (
  epoch integer primary key,
  forked_after bigint not null,
  raised_at timestamptz not null default clock_timestamp()
);
create table factwire.facts (
  position bigint primary key,
  id uuid not null,
  published_at timestamptz not null,
  namespace text collate "C" not null,
  type text collate "C" not null,
  version integer not null,
  document bytea not null
) partition by range (position);
create table factwire.fact_tags (
  tag text collate "C",
  position bigint,
  earlier smallint[],
  primary key (tag, position)
) partition by range (position);
create table factwire.fact_ids (
  id uuid primary key,
  position bigint not null,
  digest bytea not null
);
create table factwire.types (
  namespace text collate "C",
  type text collate "C",
  version integer,
  primary key (namespace, type, version)
);
create table factwire.type_counts (
  namespace text collate "C",
  type text collate "C",
  version integer,
  facts bigint not null,
  last_position bigint not null,
  primary key (namespace, type, version)
);
create table factwire.counted (
  one boolean primary key default true check (one),
  through bigint not null default 0
)
"""

# The identity is random, so that two logs of one server never share a lock; neighbours of the key are used as well.
FIRST_ROWS = """
insert into factwire.log (lock_key)
select ('x' || substr(md5(gen_random_uuid()::text), 1, 15))::bit(60)::bigint;
insert into factwire.counted default values;
insert into factwire.epochs (epoch, forked_after) values (1, 0)
"""

IMMUTABLE_TABLES = ("facts", "fact_tags", "fact_ids")


def upgrade() -> None:
    _execute_each(TABLES)
    sql = Path(__file__).parent.parent / "sql"
    for name in FUNCTIONS:
        op.get_bind().exec_driver_sql((sql / f"{name}_v1.sql").read_text())
    for table in IMMUTABLE_TABLES:
        op.execute(
            f"create trigger refuse_change before update or delete or truncate on factwire.{table} "
            "for each statement execute function factwire.refuse_change()"
        )
    _execute_each(FIRST_ROWS)
    op.execute("select factwire.create_partition(0)")


def downgrade() -> None:
    for table in ("facts", "fact_tags", "fact_ids", "types", "type_counts", "counted", "epochs", "log"):
        op.execute(f"drop table factwire.{table} cascade")
    for name in reversed(FUNCTIONS):
        op.execute(f"drop function factwire.{name}")


def _execute_each(statements: str) -> None:
    for statement in statements.split(";"):
        op.execute(statement)
