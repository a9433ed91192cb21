"""Bring a log of the time before the first release to the form that 0001 makes: one posting for all facts of an append
that share a tag, documents that begin with the position, and no column that is stored elsewhere as well.

Not safe beside running services of that time: their functions go. A log that 0001 made in this form stays as it is.
"""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"

FUNCTIONS = (
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

HAS_OLD_FORM = """
select exists (
  select from pg_catalog.pg_attribute a
   where a.attrelid = 'factwire.facts'::regclass and a.attname = 'tags' and not a.attisdropped)
"""

BEGIN_WITH_THE_POSITION = """
update factwire.facts
   set document = convert_to(
         position || e'\\ndata: {"position":' || position || ',"published_at":"'
         || to_char(published_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '",', 'UTF8') || document
"""

DROP_FUNCTIONS = """
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_catalog.pg_proc p
     where p.pronamespace = 'factwire'::regnamespace and p.proname <> 'refuse_change'
  loop
    execute format('drop function %s', v_function);
  end loop;
end
$$
"""


def upgrade() -> None:
    if not op.get_bind().exec_driver_sql(HAS_OLD_FORM).scalar():
        return
    op.execute("alter table factwire.facts drop column tags, drop column digest")
    op.execute("alter table factwire.fact_tags add column earlier smallint[]")
    op.execute(DROP_FUNCTIONS)
    op.execute("alter table factwire.facts disable trigger refuse_change")
    op.execute(BEGIN_WITH_THE_POSITION)
    op.execute("alter table factwire.facts enable trigger refuse_change")
    sql = Path(__file__).parent.parent / "sql"
    for name in FUNCTIONS:
        op.get_bind().exec_driver_sql((sql / f"{name}_v1.sql").read_text())


def downgrade() -> None:
    """The form before is not made again: nothing was released in it."""
