"""Find a page and put it together in two functions, so that its bytes are copied less, and check further tags faster.

Safe beside running services of the version before: `read_page` stays, and a walk finds what it found.
"""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"

SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    for name in ("find_page_v1", "compose_page_v1", "walk_item_v2"):
        op.get_bind().exec_driver_sql((SQL / f"{name}.sql").read_text())


def downgrade() -> None:
    op.execute("drop function factwire.walk_item")
    op.get_bind().exec_driver_sql((SQL / "walk_item_v1.sql").read_text())
    op.execute("drop function factwire.compose_page")
    op.execute("drop function factwire.find_page")
