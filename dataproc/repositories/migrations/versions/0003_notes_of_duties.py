"""Notes of duties: the obstacle that waiting jobs show."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE duties ADD COLUMN IF NOT EXISTS note text")
