"""Let audit rows be deleted when they are older than a year, and add the indexes for daily quotas and for deletions."""

from alembic import op

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None

KEPT_DAYS = 365

INDEXES = {
    'ix_audit_actor': ('audit', ['actor', 'action', 'at']),
    'ix_audit_subject': ('audit', ['subject']),
    'ix_submission_recent': ('submission', ['user_id', 'created_at']),
    'ix_submission_file_sha256': ('submission', ['file_sha256']),
    'ix_idempotency_submission_id': ('idempotency', ['submission_id']),
    'ix_upload_stands_for': ('upload', ['stands_for']),
}


def replace_function(body: str) -> None:
    op.execute(
        'CREATE OR REPLACE FUNCTION audit_refuses_delete() RETURNS trigger LANGUAGE plpgsql AS '
        f'$$ BEGIN {body} END $$'
    )


def upgrade() -> None:
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)
    if op.get_bind().dialect.name == 'postgresql':
        replace_function(
            f"IF OLD.at > (now() AT TIME ZONE 'UTC') - interval '{KEPT_DAYS} days' THEN RAISE EXCEPTION "
            f"'the audit log keeps every row for {KEPT_DAYS} days' USING ERRCODE = 'integrity_constraint_violation'; END IF; "
            'RETURN OLD;'
        )
        return
    op.execute('DROP TRIGGER audit_refuses_delete')
    op.execute(
        f"CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit WHEN OLD.at > datetime('now', '-{KEPT_DAYS} days') "
        f"BEGIN SELECT RAISE(ABORT, 'the audit log keeps every row for {KEPT_DAYS} days'); END"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == 'postgresql':
        replace_function("RAISE EXCEPTION 'the audit log only grows' USING ERRCODE = 'integrity_constraint_violation';")
    else:
        op.execute('DROP TRIGGER audit_refuses_delete')
        op.execute(
            "CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END"
        )
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
