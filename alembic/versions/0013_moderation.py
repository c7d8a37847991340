"""Add bans of users, suspensions of submissions, and deleted accounts."""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('user', sa.Column('ban', sa.JSON(none_as_null=True), nullable=True))
    op.add_column('user', sa.Column('deleted_at', sa.DateTime(), nullable=True))
    op.add_column('user', sa.Column('retired_name', sa.String(length=64), nullable=True))
    op.create_index('ix_user_retired_name', 'user', ['retired_name'], unique=True)
    op.add_column('submission', sa.Column('suspension', sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    # The earlier schema has no suspensions; a private submission is hidden from the same users.
    op.execute("UPDATE submission SET visibility = 'private', pinned = false WHERE suspension IS NOT NULL")
    op.drop_column('submission', 'suspension')
    op.drop_index('ix_user_retired_name', 'user')
    op.drop_column('user', 'retired_name')
    op.drop_column('user', 'deleted_at')
    op.drop_column('user', 'ban')
