"""Add review links."""

import sqlalchemy as sa
from alembic import op

revision = '0023'
down_revision = '0022'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('review_link',
    sa.Column('submission_id', sa.String(length=16), nullable=False),
    sa.Column('digest', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.DateTime(), nullable=False),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], name=op.f('fk_review_link_submission_id_submission')),
    sa.PrimaryKeyConstraint('submission_id', name=op.f('pk_review_link')),
    sa.UniqueConstraint('digest', name=op.f('uq_review_link_digest'))
    )


def downgrade() -> None:
    op.drop_table('review_link')
