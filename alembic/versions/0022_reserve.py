"""Add the reserve of a version, results on the reserve, and the retirement of a benchmark."""

import sqlalchemy as sa
from alembic import op

revision = '0022'
down_revision = '0021'
branch_labels = None
depends_on = None

PART = 'ck_measurement_part'


def upgrade() -> None:
    op.add_column('benchmark', sa.Column('retired_at', sa.DateTime(), nullable=True))
    op.add_column('version', sa.Column('reserve_subsets', sa.Integer(), nullable=False, server_default='0'))
    with op.batch_alter_table('measurement', schema=None) as batch_op:
        batch_op.drop_constraint(op.f(PART), type_='check')
        batch_op.create_check_constraint(op.f(PART), "part IN ('public', 'ranking', 'reserve')")


def downgrade() -> None:
    op.execute("DELETE FROM measurement WHERE part = 'reserve'")
    with op.batch_alter_table('measurement', schema=None) as batch_op:
        batch_op.drop_constraint(op.f(PART), type_='check')
        batch_op.create_check_constraint(op.f(PART), "part IN ('public', 'ranking')")
    op.drop_column('version', 'reserve_subsets')
    op.drop_column('benchmark', 'retired_at')
