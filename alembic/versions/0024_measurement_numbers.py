"""Add an index that holds the numbers of measurements without the arrays."""

from alembic import op

revision = '0024'
down_revision = '0023'
branch_labels = None
depends_on = None

NAME = 'ix_measurement_numbers'


def upgrade() -> None:
    columns = ['evaluation_id', 'part', 'lds', 'std_error', 'ci_low', 'ci_high', 'z_random', 'p_random']
    op.create_index(NAME, 'measurement', columns)


def downgrade() -> None:
    op.drop_index(NAME, 'measurement')
