"""What the interface of 1.0 needs: preconditions, alternatives in items, types of any text, idempotency keys.

Safe beside running services of the version before: the functions that they call keep their arguments and results, and
the functions that are replaced by others stay.
"""

from pathlib import Path

from alembic import op

revision = "1003"
down_revision = "1002"

SQL = Path(__file__).parent.parent / "sql"

NEW = ("choose_lists_of_any_v1", "keep_any_v1", "walk_item_v2", "search_condition_v1")
REPLACED = ("walk_query", "check_conditions", "refuse_conditions", "list_types")

DROP_NEW = """
drop function factwire.search_condition(text[], text[], text[], bigint[], uuid[], integer, double precision);
drop function factwire.walk_item(
  text, text[], text[], text[], bigint, bigint, boolean, integer, integer, timestamptz, integer, bigint);
drop function factwire.choose_lists_of_any(
  text[], text[], boolean, text[], text[], text[], bigint, bigint, integer, integer);
drop function factwire.keep_any(bigint[], text[])
"""


# Two random UUIDs, of 122 bits each: only the service can compute ids from idempotency keys.
ADD_SECRET = """
alter table factwire.log
  add column idempotency_secret bytea not null default uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
"""


def upgrade() -> None:
    op.execute(ADD_SECRET)
    for name in (*NEW, *(f"{name}_v2" for name in REPLACED)):
        op.get_bind().exec_driver_sql((SQL / f"{name}.sql").read_text())


def downgrade() -> None:
    for name in REPLACED:
        statement = (SQL / f"{name}_v1.sql").read_text()
        op.get_bind().exec_driver_sql(statement.replace("create function", "create or replace function", 1))
    for statement in DROP_NEW.split(";"):
        op.execute(statement)
    op.execute("alter table factwire.log drop column idempotency_secret")
