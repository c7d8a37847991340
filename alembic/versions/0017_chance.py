"""Add the p-value of the LDS of random scores to every measurement."""

import math

import sqlalchemy as sa
from alembic import op

revision = '0017'
down_revision = '0016'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('measurement', sa.Column('p_random', sa.Double(), nullable=False, server_default='1'))
    connection = op.get_bind()
    rows = connection.execute(sa.text('SELECT evaluation_id, part, z_random FROM measurement')).all()
    found = [{'p': math.erfc(abs(z) / math.sqrt(2)), 'id': number, 'part': part} for number, part, z in rows]
    if found:
        change = 'UPDATE measurement SET p_random = :p WHERE evaluation_id = :id AND part = :part'
        connection.execute(sa.text(change), found)


def downgrade() -> None:
    op.drop_column('measurement', 'p_random')
