"""Add aliases of anonymous owners; descriptions, tags, URLs and pins of submissions."""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('alias',
    sa.Column('benchmark_id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['benchmark_id'], ['benchmark.id'], name=op.f('fk_alias_benchmark_id_benchmark')),
    sa.ForeignKeyConstraint(['user_id'], ['user.id'], name=op.f('fk_alias_user_id_user')),
    sa.PrimaryKeyConstraint('benchmark_id', 'user_id', name=op.f('pk_alias')),
    sa.UniqueConstraint('benchmark_id', 'number', name=op.f('uq_alias_benchmark_id'))
    )
    with op.batch_alter_table('submission', schema=None) as batch_op:
        batch_op.add_column(sa.Column('description', sa.String(length=2000), nullable=False, server_default=''))
        batch_op.add_column(sa.Column('tags', sa.JSON(), nullable=False, server_default='[]'))
        batch_op.add_column(sa.Column('urls', sa.JSON(), nullable=False, server_default='{}'))
        batch_op.add_column(sa.Column('pinned', sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table('submission', schema=None) as batch_op:
        for name in ('description', 'tags', 'urls', 'pinned'):
            batch_op.alter_column(name, server_default=None)
        batch_op.create_index(
            'ix_submission_pinned', ['user_id', 'version_id', 'method'], unique=True,
            sqlite_where=sa.text('pinned'), postgresql_where=sa.text('pinned'),
        )


def downgrade() -> None:
    with op.batch_alter_table('submission', schema=None) as batch_op:
        batch_op.drop_index('ix_submission_pinned')
        for name in ('pinned', 'urls', 'tags', 'description'):
            batch_op.drop_column(name)
    op.drop_table('alias')
