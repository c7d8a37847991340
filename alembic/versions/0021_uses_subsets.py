"""Add to every submission whether its method was fitted to the ranking subsets."""

import sqlalchemy as sa
from alembic import op

revision = '0021'
down_revision = '0020'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('submission', sa.Column('uses_subsets', sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column('submission', 'uses_subsets')
