"""Add user roles, token names, scopes and expiry dates, and an append-only audit log."""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('user', schema=None) as batch_op:
        batch_op.add_column(sa.Column('role', sa.String(length=16), nullable=False, server_default='user'))
        batch_op.create_check_constraint(op.f('ck_user_role'), "role IN ('user', 'admin')")
    with op.batch_alter_table('user', schema=None) as batch_op:
        batch_op.alter_column('role', server_default=None)
    with op.batch_alter_table('token', schema=None) as batch_op:
        batch_op.add_column(sa.Column('name', sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column('scopes', sa.JSON(), nullable=False, server_default='["manage", "submit"]'))
        batch_op.add_column(sa.Column('expires_at', sa.DateTime(), nullable=True))
    op.execute("UPDATE token SET name = 'token-' || id")
    with op.batch_alter_table('token', schema=None) as batch_op:
        batch_op.alter_column('name', existing_type=sa.String(length=64), nullable=False)
        batch_op.alter_column('scopes', server_default=None)
        batch_op.create_unique_constraint(op.f('uq_token_user_id'), ['user_id', 'name'])
    op.create_table('audit',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('at', sa.DateTime(), nullable=False),
    sa.Column('actor', sa.String(length=64), nullable=False),
    sa.Column('address', sa.String(length=64), nullable=True),
    sa.Column('action', sa.String(length=32), nullable=False),
    sa.Column('subject', sa.String(length=200), nullable=False),
    sa.Column('detail', sa.JSON(none_as_null=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit'))
    )
    for change in ('UPDATE', 'DELETE'):
        name = f'audit_refuses_{change.lower()}'
        if op.get_bind().dialect.name == 'postgresql':
            op.execute(
                f'CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS '
                "$$ BEGIN RAISE EXCEPTION 'the audit log only grows' USING ERRCODE = 'integrity_constraint_violation'; END $$"
            )
            op.execute(f'CREATE TRIGGER {name} BEFORE {change} ON audit FOR EACH ROW EXECUTE FUNCTION {name}()')
            if change == 'UPDATE':
                op.execute(f'CREATE TRIGGER audit_refuses_truncate BEFORE TRUNCATE ON audit EXECUTE FUNCTION {name}()')
        else:
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {change} ON audit BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END"
            )


def downgrade() -> None:
    op.drop_table('audit')
    if op.get_bind().dialect.name == 'postgresql':
        for name in ('audit_refuses_update', 'audit_refuses_delete'):
            op.execute(f'DROP FUNCTION {name}()')
    with op.batch_alter_table('token', schema=None) as batch_op:
        batch_op.drop_constraint(op.f('uq_token_user_id'), type_='unique')
        batch_op.drop_column('expires_at')
        batch_op.drop_column('scopes')
        batch_op.drop_column('name')
    with op.batch_alter_table('user', schema=None) as batch_op:
        batch_op.drop_constraint(op.f('ck_user_role'), type_='check')
        batch_op.drop_column('role')
