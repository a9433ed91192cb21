"""Let queries be restricted to the namespaces that their author may read.

Safe beside running services of the version before: what they ask for is found as it was.
"""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"

SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    for name in ("covers_v1", "readable_namespaces_v1", "walk_query_v2", "check_conditions_v2"):
        op.get_bind().exec_driver_sql((SQL / f"{name}.sql").read_text())


def downgrade() -> None:
    for name in ("walk_query", "check_conditions"):
        op.execute(f"drop function factwire.{name}")
        op.get_bind().exec_driver_sql((SQL / f"{name}_v1.sql").read_text())
    op.execute("drop function factwire.readable_namespaces")
    op.execute("drop function factwire.covers")
