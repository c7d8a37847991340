"""Add webhooks and their calls."""

import sqlalchemy as sa
from alembic import op

revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('webhook',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('url', sa.String(length=500), nullable=False),
    sa.Column('secret', sa.String(length=64), nullable=False),
    sa.Column('failures', sa.Integer(), nullable=False),
    sa.Column('disabled_at', sa.DateTime(), nullable=True),
    sa.Column('created_at', sa.DateTime(), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['user.id'], name=op.f('fk_webhook_user_id_user')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook')),
    sa.UniqueConstraint('user_id', 'url', name=op.f('uq_webhook_user_id'))
    )
    op.create_table('webhook_call',
    sa.Column('id', sa.String(length=16), nullable=False),
    sa.Column('webhook_id', sa.Integer(), nullable=False),
    sa.Column('submission_id', sa.String(length=16), nullable=False),
    sa.Column('event', sa.String(length=16), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_at', sa.DateTime(), nullable=False),
    sa.Column('status', sa.Integer(), nullable=True),
    sa.Column('error', sa.String(length=200), nullable=True),
    sa.Column('created_at', sa.DateTime(), nullable=False),
    sa.Column('ended_at', sa.DateTime(), nullable=True),
    sa.CheckConstraint("(state = 'waiting') = (ended_at IS NULL)", name=op.f('ck_webhook_call_ended')),
    sa.CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name=op.f('ck_webhook_call_state')),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], name=op.f('fk_webhook_call_submission_id_submission')),
    sa.ForeignKeyConstraint(['webhook_id'], ['webhook.id'], name=op.f('fk_webhook_call_webhook_id_webhook')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_call'))
    )
    op.create_index('ix_webhook_call_due', 'webhook_call', ['state', 'next_at'])
    op.create_index('ix_webhook_call_recent', 'webhook_call', ['webhook_id', 'created_at'])
    op.create_index('ix_webhook_call_waiting', 'webhook_call', ['webhook_id', 'state'])
    op.create_index(op.f('ix_webhook_call_submission_id'), 'webhook_call', ['submission_id'])


def downgrade() -> None:
    op.drop_table('webhook_call')
    op.drop_table('webhook')
