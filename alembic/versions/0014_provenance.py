"""Add branch, pull request number, provider and verification to provenances."""

import sqlalchemy as sa
from alembic import op

revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None

CHECKS = {
    'provider': "provider IN ('github', 'gitlab', 'forgejo', 'other')",
    'number': 'number > 0',
}


def upgrade() -> None:
    with op.batch_alter_table('provenance', schema=None) as batch_op:
        batch_op.add_column(sa.Column('branch', sa.String(length=255), nullable=True))
        batch_op.add_column(sa.Column('number', sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column('provider', sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column('verified', sa.Boolean(), nullable=False, server_default=sa.false()))
        for name, condition in CHECKS.items():
            batch_op.create_check_constraint(op.f(f'ck_provenance_{name}'), condition)


def downgrade() -> None:
    with op.batch_alter_table('provenance', schema=None) as batch_op:
        for name in CHECKS:
            batch_op.drop_constraint(op.f(f'ck_provenance_{name}'), type_='check')
        for name in ('verified', 'provider', 'number', 'branch'):
            batch_op.drop_column(name)
