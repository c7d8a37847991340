"""Add the revision of a board, and the revision that its ranks belong to."""

import sqlalchemy as sa
from alembic import op

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ('board_revision', 'ranked_revision'):
        op.add_column('version', sa.Column(name, sa.Integer(), nullable=False, server_default='0'))


def downgrade() -> None:
    op.drop_column('version', 'ranked_revision')
    op.drop_column('version', 'board_revision')
