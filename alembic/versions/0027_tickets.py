"""Count the claims and losses of every evaluation, record the ticket of a claim, and create procrastinate's tables on PostgreSQL.

A later version of procrastinate with other tables needs a migration of its own, with the statements that procrastinate ships for
that version. `tests/app/test_tickets.py` fails when the tables of the installed version differ from those created here.
"""

import sqlalchemy as sa
from alembic import op

revision = '0027'
down_revision = '0026'
branch_labels = None
depends_on = None

oldest_code = '0027'

DROP = """
DO $$
DECLARE found record;
BEGIN
    FOR found IN SELECT tablename FROM pg_tables
        WHERE schemaname = current_schema() AND tablename LIKE 'procrastinate\\_%' LOOP
        EXECUTE format('DROP TABLE %I CASCADE', found.tablename);
    END LOOP;
    FOR found IN SELECT oid::regprocedure AS signature FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND proname LIKE 'procrastinate\\_%' LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', found.signature);
    END LOOP;
    FOR found IN SELECT typname FROM pg_type WHERE typtype IN ('e', 'c')
        AND typnamespace = current_schema()::regnamespace AND typname LIKE 'procrastinate\\_%' LOOP
        EXECUTE format('DROP TYPE %I CASCADE', found.typname);
    END LOOP;
END
$$
"""


def upgrade() -> None:
    for name in ('claims', 'losses'):
        op.add_column('evaluation', sa.Column(name, sa.Integer(), nullable=False, server_default='0'))
    number = sa.Integer().with_variant(sa.BigInteger(), 'postgresql')
    op.add_column('evaluation', sa.Column('job', number, nullable=True))
    if op.get_bind().dialect.name == 'postgresql':
        from procrastinate.schema import SchemaManager

        execute_whole(SchemaManager.get_schema())


def downgrade() -> None:
    if op.get_bind().dialect.name == 'postgresql':
        execute_whole(DROP)
    with op.batch_alter_table('evaluation') as batch_op:
        batch_op.drop_column('job')
        batch_op.drop_column('losses')
        batch_op.drop_column('claims')


def execute_whole(statements: str) -> None:
    """Execute statements as they are: SQLAlchemy and psycopg would take colons and percent signs for parameters."""
    op.get_bind().connection.driver_connection.execute(statements)
