"""Add trusted CI workflows, used identity tokens, and the method and the claims of tokens."""

import sqlalchemy as sa
from alembic import op

revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'publisher',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('user_id', sa.Integer(), nullable=False),
        sa.Column('method', sa.String(length=64), nullable=False),
        sa.Column('issuer', sa.String(length=300), nullable=False),
        sa.Column('repository', sa.String(length=200), nullable=False),
        sa.Column('repository_id', sa.String(length=20), nullable=False),
        sa.Column('owner_id', sa.String(length=20), nullable=False),
        sa.Column('workflow', sa.String(length=255), nullable=False),
        sa.Column('called_workflow', sa.String(length=500), nullable=True),
        sa.Column('environment', sa.String(length=255), nullable=True),
        sa.Column('branch', sa.String(length=255), nullable=True),
        sa.Column('created_at', sa.DateTime(), nullable=False),
        sa.Column('used_at', sa.DateTime(), nullable=True),
        sa.Column('offered_environment', sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(['user_id'], ['user.id'], name=op.f('fk_publisher_user_id_user')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_publisher')),
    )
    op.create_index('ix_publisher_repository', 'publisher', ['issuer', 'repository_id', 'method'])
    op.create_index(op.f('ix_publisher_user_id'), 'publisher', ['user_id'])
    op.create_table(
        'seen_jti',
        sa.Column('digest', sa.String(length=64), nullable=False),
        sa.Column('expires_at', sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint('digest', name=op.f('pk_seen_jti')),
    )
    op.create_index(op.f('ix_seen_jti_expires_at'), 'seen_jti', ['expires_at'])
    op.add_column('token', sa.Column('method', sa.String(length=64), nullable=True))
    op.add_column('token', sa.Column('claims', sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    # Without its method, the token of a CI run would allow all methods of its user, so it expires.
    op.execute('UPDATE token SET expires_at = created_at WHERE method IS NOT NULL')
    op.drop_column('token', 'claims')
    op.drop_column('token', 'method')
    op.drop_table('seen_jti')
    op.drop_table('publisher')
