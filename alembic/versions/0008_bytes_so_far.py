"""Keep in the chain how many bytes the log has, so that a page of history need not sum up its facts to be bounded.

Safe beside running services of the version before: they call the same functions. Facts from before are summed up.
"""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"

SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    op.execute("alter table factwire.chain add column bytes_so_far bigint")
    for name in ("bytes_at_most_v1", "find_page_v2", "append_v2"):
        op.get_bind().exec_driver_sql((SQL / f"{name}.sql").read_text())


def downgrade() -> None:
    for name in ("append_v1", "find_page_v1"):
        text = (SQL / f"{name}.sql").read_text()
        op.get_bind().exec_driver_sql(text.replace("create function", "create or replace function", 1))
    op.execute("drop function factwire.bytes_at_most")
    op.execute("alter table factwire.chain drop column bytes_so_far")
