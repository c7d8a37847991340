"""Add which reservations count towards the quota, the turn of each user in the queue, and one pin for each visibility."""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None

PINNED = {
    'unique': True,
    'sqlite_where': sa.text('pinned'),
    'postgresql_where': sa.text('pinned'),
}


def upgrade() -> None:
    op.add_column('submission', sa.Column('counted', sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column('user', sa.Column('served_at', sa.DateTime(), nullable=True))
    # Submissions that failed by a server error did not count, and must not count after they were withdrawn.
    op.execute(
        "UPDATE submission SET counted = false WHERE id IN "
        "(SELECT submission_id FROM event WHERE before = 'failed' AND after = 'withdrawn')"
    )
    op.create_index('ix_submission_waiting', 'submission', ['state', 'user_id'])
    op.drop_index('ix_submission_pinned', 'submission')
    op.create_index('ix_submission_pinned', 'submission', ['user_id', 'version_id', 'method', 'visibility'], **PINNED)


def downgrade() -> None:
    op.drop_index('ix_submission_pinned', 'submission')
    op.execute('UPDATE submission SET pinned = false')
    op.create_index('ix_submission_pinned', 'submission', ['user_id', 'version_id', 'method'], **PINNED)
    op.drop_index('ix_submission_waiting', 'submission')
    op.drop_column('user', 'served_at')
    op.drop_column('submission', 'counted')
