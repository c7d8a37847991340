"""Move the arrays of measurements behind all numbers.

SQLite reads a column behind an array only by way of all pages of the array, and a board reads the numbers of all its entries.
"""

from alembic import op

revision = '0024'
down_revision = '0023'
branch_labels = None
depends_on = None


def upgrade() -> None:
    reorder('p_random', 'influence', 'per_target')


def downgrade() -> None:
    reorder('influence', 'per_target', 'p_random')


def reorder(*last: str) -> None:
    """Rebuild the table of measurements with these columns at its end, in this order."""
    with op.batch_alter_table('measurement', recreate='always', partial_reordering=[('warnings', *last)]):
        pass
