"""Counterfactual evaluations: the falls of margins after retraining without examples."""

import sqlalchemy as sa
from alembic import op


revision = '0029'
down_revision = '0028'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'counterfactual',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('submission_id', sa.String(16), nullable=False),
        sa.Column('version_id', sa.Integer(), nullable=False),
        sa.Column('code', sa.Integer(), nullable=False),
        sa.Column('created_at', sa.DateTime(), nullable=False),
        sa.Column('claimed_at', sa.DateTime(), nullable=True),
        sa.Column('claims', sa.Integer(), nullable=False),
        sa.Column('worker', sa.String(64), nullable=True),
        sa.Column('percent', sa.Integer(), nullable=True),
        sa.Column('failures', sa.Integer(), nullable=False),
        sa.Column('not_before', sa.DateTime(), nullable=True),
        sa.Column('ended_at', sa.DateTime(), nullable=True),
        sa.Column('reason', sa.String(500), nullable=True),
        sa.Column('numbers', sa.JSON(), nullable=True),
        sa.Column('falls', sa.LargeBinary(), nullable=True),
        sa.Column('headline', sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], name='fk_counterfactual_submission_id_submission', ondelete='CASCADE'),
        sa.ForeignKeyConstraint(['version_id'], ['version.id'], name='fk_counterfactual_version_id_version', ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('id', name='pk_counterfactual'),
        sa.UniqueConstraint('submission_id', 'version_id', 'code', name='uq_counterfactual_submission_id'),
    )
    op.create_index('ix_counterfactual_version_id', 'counterfactual', ['version_id'])


def downgrade() -> None:
    op.drop_table('counterfactual')
