"""Subscriptions: cursors that the service keeps, leases of facts, and what is set aside.

Safe beside running services of the version before: their tables are left alone, and the function that they call to
append keeps its arguments.
"""

import re
from pathlib import Path

from alembic import op

revision = "1006"
down_revision = "1005"

INCLUDE = re.compile(r"^ *-- include (\w+)\n", re.MULTILINE)
SQL = Path(__file__).parent.parent / "sql"

CREATE_TABLES = """
create table factwire.subscriptions (
  id integer generated always as identity primary key,
  name text collate "C" not null unique,
  query jsonb not null,
  include text[] not null,
  exclude text[] not null,
  ordering text not null check (ordering in ('none', 'aggregate', 'all')),
  ack_timeout_seconds double precision not null,
  max_attempts integer not null,
  on_failure text not null check (on_failure in ('park', 'pause')),
  in_flight_max integer not null,
  backoff_first_seconds double precision not null,
  backoff_factor double precision not null,
  backoff_most_seconds double precision not null,
  generation integer not null default 1,
  revision integer not null default 1,
  paused_at timestamptz,
  failed boolean not null default false,
  reason text,
  created_at timestamptz not null default clock_timestamp(),
  created_by text not null
);
comment on table factwire.subscriptions is 'Subscriptions: what each asks for, and if it is paused.';
create table factwire.subscription_cursors (
  subscription integer,
  seq bigint,
  position bigint not null,
  turn bigint not null default 0,
  taken bigint not null default 0,
  aside integer not null default 0,
  in_flight integer not null default 0,
  look_at timestamptz,
  primary key (subscription, seq)
);
comment on table factwire.subscription_cursors is 'Position and counts of each subscription: the newest row counts.';
create table factwire.subscription_leases (
  subscription integer,
  lease bigint,
  worker text not null,
  until timestamptz not null,
  positions bigint[] not null,
  attempts smallint[] not null,
  keys bigint[] not null,
  key_places smallint[] not null,
  primary key (subscription, lease)
) with (fillfactor = 70);
comment on table factwire.subscription_leases is 'Facts in the hands of workers: one row for each claim.';
create table factwire.subscription_open_keys (
  subscription integer,
  key bigint,
  position bigint,
  primary key (subscription, key, position)
);
comment on table factwire.subscription_open_keys is 'Keys of claimed and set aside facts, which hold back later ones.';
create table factwire.subscription_aside (
  subscription integer,
  position bigint,
  state text not null check (state in ('held', 'ready', 'delayed', 'parked')),
  attempts smallint not null,
  turn bigint,
  due timestamptz,
  alone boolean not null,
  keys bigint[] not null,
  reason text,
  worker text,
  set_aside_at timestamptz,
  primary key (subscription, position)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
comment on table factwire.subscription_aside is 'Facts that the cursor has passed and that are in no lease.';
create index subscription_aside_by_turn on factwire.subscription_aside (subscription, turn) where state = 'ready';
create index subscription_aside_by_due on factwire.subscription_aside (subscription, due) where due is not null;
create index subscription_aside_parked on factwire.subscription_aside (subscription, position) where state = 'parked';
create table factwire.subscription_settled (
  subscription integer,
  id bigint generated always as identity,
  keys bigint[] not null,
  key_positions bigint[] not null,
  facts integer not null,
  primary key (subscription, id)
);
comment on table factwire.subscription_settled is 'Facts acknowledged by a publish, with keys that are still open.';
create table factwire.subscription_lost_leases (
  subscription integer,
  lease bigint,
  positions bigint[] not null,
  lost_at timestamptz not null,
  primary key (subscription, lease)
);
comment on table factwire.subscription_lost_leases is 'Facts that left their lease unacknowledged, for a while.';
create index subscription_lost_leases_by_time on factwire.subscription_lost_leases (lost_at);
create table factwire.subscription_workers (
  subscription integer,
  worker text,
  seen_at timestamptz not null,
  primary key (subscription, worker)
);
comment on table factwire.subscription_workers is 'Last sign of life of each worker, for a while.'
"""

FUNCTIONS = (
    "store_cursor_v1",
    "drop_open_keys_v1",
    "free_held_v1",
    "cut_lease_v1",
    "note_lost_v1",
    "fail_subscription_v1",
    "set_aside_v1",
    "take_back_v1",
    "release_settled_v1",
    "disordered_v1",
    "acknowledge_facts_v1",
    "grant_facts_v1",
    "claim_facts_v1",
    "returning_with_v1",
    "return_facts_v1",
    "resolve_parked_v1",
    "reset_subscription_v1",
    "extend_leases_v1",
    "delete_subscription_v1",
)
TABLES = (
    "subscription_workers",
    "subscription_lost_leases",
    "subscription_settled",
    "subscription_aside",
    "subscription_open_keys",
    "subscription_leases",
    "subscription_cursors",
    "subscriptions",
)


def upgrade() -> None:
    for statement in CREATE_TABLES.split(";"):
        op.execute(statement)
    for name in FUNCTIONS:
        execute_file(name)
    replace_effects("refuse_effects_v2", "apply_effects_v2", "append_v3")


def downgrade() -> None:
    replace_effects("refuse_effects_v1", "apply_effects_v1", "append_v2")
    for name in reversed(FUNCTIONS):
        op.execute(f"drop function factwire.{name.removesuffix('_v1')}")
    for table in TABLES:
        op.execute(f"drop table factwire.{table}")


def replace_effects(refuse: str, apply: str, append: str) -> None:
    """Replace the functions that check and write effects. Their results differ, except that of append."""
    op.execute("drop function factwire.refuse_effects")
    op.execute("drop function factwire.apply_effects")
    execute_file(refuse)
    execute_file(apply)
    execute_file(append, replace=True)


def execute_file(name: str, *, replace: bool = False) -> None:
    """Run a file of alembic/sql. A line `-- include NAME` stands for the text of another file."""
    statement = INCLUDE.sub(lambda line: (SQL / f"{line[1]}.sql").read_text(), (SQL / f"{name}.sql").read_text())
    if replace:
        statement = statement.replace("create function", "create or replace function", 1)
    op.get_bind().exec_driver_sql(statement)
