"""Add to every evaluation whether ranks count it, and whether it is separable from the first entry."""

import sqlalchemy as sa
from alembic import op

revision = '0019'
down_revision = '0018'
branch_labels = None
depends_on = None

# The server ranks boards with a raised revision when it starts.
RANK_AGAIN = 'UPDATE version SET board_revision = board_revision + 1'


def upgrade() -> None:
    op.add_column('evaluation', sa.Column('in_family', sa.Boolean(), nullable=True))
    op.add_column('evaluation', sa.Column('separable_from_first', sa.Boolean(), nullable=True))
    op.execute(RANK_AGAIN)


def downgrade() -> None:
    op.drop_column('evaluation', 'separable_from_first')
    op.drop_column('evaluation', 'in_family')
    op.execute(RANK_AGAIN)
