"""Record which process holds or has scored an evaluation, and which workers died with it."""

import sqlalchemy as sa
from alembic import op

revision = '0028'
down_revision = '0027'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('evaluation', sa.Column('worker', sa.String(64), nullable=True))
    op.add_column('evaluation', sa.Column('lost_workers', sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('evaluation') as batch_op:
        batch_op.drop_column('lost_workers')
        batch_op.drop_column('worker')
