"""Add to every user whether the account is verified."""

import sqlalchemy as sa
from alembic import op

revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('user', sa.Column('verified', sa.Boolean(), nullable=False, server_default=sa.false()))
    # The operator added users without an identity. An identity at GitHub is not verified.
    op.execute(
        'UPDATE "user" SET verified = true WHERE NOT EXISTS'
        ' (SELECT 1 FROM identity WHERE identity.user_id = "user".id AND identity.provider LIKE \'%github%\')'
    )


def downgrade() -> None:
    op.drop_column('user', 'verified')
