"""Add the stored attributions of some targets of a scored file."""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('attribution',
    sa.Column('evaluation_id', sa.Integer(), nullable=False),
    sa.Column('target', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('examples', sa.LargeBinary(), nullable=False),
    sa.Column('scores', sa.LargeBinary(), nullable=False),
    sa.Column('predictions', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['evaluation_id'], ['evaluation.id'], name=op.f('fk_attribution_evaluation_id_evaluation')),
    sa.PrimaryKeyConstraint('evaluation_id', 'target', name=op.f('pk_attribution'))
    )


def downgrade() -> None:
    op.drop_table('attribution')
