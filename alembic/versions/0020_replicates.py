"""Add to every submission what it is a replicate of, and to every evaluation the mean over the replicates of its entry."""

import sqlalchemy as sa
from alembic import op

revision = '0020'
down_revision = '0019'
branch_labels = None
depends_on = None

# The server ranks boards with a raised revision when it starts.
RANK_AGAIN = 'UPDATE version SET board_revision = board_revision + 1'


def upgrade() -> None:
    op.add_column('submission', sa.Column('replicate_of', sa.String(16), nullable=True))
    op.add_column('evaluation', sa.Column('replicates', sa.JSON(none_as_null=True), nullable=True))
    op.execute(RANK_AGAIN)


def downgrade() -> None:
    op.drop_column('evaluation', 'replicates')
    op.drop_column('submission', 'replicate_of')
    op.execute(RANK_AGAIN)
