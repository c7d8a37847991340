"""Add atomic switches of a board's version; claims and delayed retries of evaluations."""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('benchmark', schema=None) as batch_op:
        batch_op.add_column(sa.Column('next_version', sa.Integer(), nullable=True))
    with op.batch_alter_table('version', schema=None) as batch_op:
        batch_op.add_column(sa.Column('scorer_version', sa.Integer(), nullable=False, server_default='1'))
    with op.batch_alter_table('version', schema=None) as batch_op:
        batch_op.alter_column('scorer_version', server_default=None)
    with op.batch_alter_table('evaluation', schema=None) as batch_op:
        batch_op.add_column(sa.Column('claimed_at', sa.DateTime(), nullable=True))
        batch_op.add_column(sa.Column('not_before', sa.DateTime(), nullable=True))
        batch_op.add_column(sa.Column('failures', sa.Integer(), nullable=False, server_default='0'))
    with op.batch_alter_table('evaluation', schema=None) as batch_op:
        batch_op.alter_column('failures', server_default=None)
    op.execute(
        "UPDATE evaluation SET failures = (SELECT failures FROM submission WHERE submission.id = submission_id)"
    )
    with op.batch_alter_table('submission', schema=None) as batch_op:
        batch_op.drop_column('failures')


def downgrade() -> None:
    with op.batch_alter_table('submission', schema=None) as batch_op:
        batch_op.add_column(sa.Column('failures', sa.Integer(), nullable=False, server_default='0'))
    with op.batch_alter_table('submission', schema=None) as batch_op:
        batch_op.alter_column('failures', server_default=None)
    op.execute(
        "UPDATE submission SET failures = coalesce("
        "(SELECT max(failures) FROM evaluation WHERE evaluation.submission_id = submission.id), 0)"
    )
    with op.batch_alter_table('evaluation', schema=None) as batch_op:
        for name in ('failures', 'not_before', 'claimed_at'):
            batch_op.drop_column(name)
    with op.batch_alter_table('version', schema=None) as batch_op:
        batch_op.drop_column('scorer_version')
    with op.batch_alter_table('benchmark', schema=None) as batch_op:
        batch_op.drop_column('next_version')
