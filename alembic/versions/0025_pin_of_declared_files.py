"""Allow one pin for the files of a method that are declared as fitted to the ranking subsets, and one for its other files."""

import sqlalchemy as sa
from alembic import op

revision = '0025'
down_revision = '0024'
branch_labels = None
depends_on = None

COLUMNS = ['user_id', 'version_id', 'method', 'visibility']
PINNED = {
    'unique': True,
    'sqlite_where': sa.text('pinned'),
    'postgresql_where': sa.text('pinned'),
}


def upgrade() -> None:
    op.drop_index('ix_submission_pinned', 'submission')
    op.create_index('ix_submission_pinned', 'submission', [*COLUMNS, 'uses_subsets'], **PINNED)


def downgrade() -> None:
    op.drop_index('ix_submission_pinned', 'submission')
    # One pin is allowed for each method and visibility: of two pins, that of the declared file goes.
    same = ' AND '.join(f'other.{name} = submission.{name}' for name in COLUMNS)
    op.execute(
        'UPDATE submission SET pinned = false WHERE uses_subsets AND pinned AND EXISTS '
        f'(SELECT 1 FROM submission AS other WHERE other.pinned AND NOT other.uses_subsets AND {same})'
    )
    op.create_index('ix_submission_pinned', 'submission', COLUMNS, **PINNED)
