"""Add to every evaluation the percentage of the targets that are scored, while it runs."""

import sqlalchemy as sa
from alembic import op

revision = '0026'
down_revision = '0025'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('evaluation', sa.Column('percent', sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column('evaluation', 'percent')
