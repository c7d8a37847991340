"""Add to every submission what joins it to its replicates, and to every evaluation the mean over the replicates of its entry."""

from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# The server ranks boards with a raised revision when it starts.
RANK_AGAIN = "UPDATE version SET board_revision = board_revision + 1"


SUBMISSION = sa.table("submission", sa.column("id"), sa.column("user_id"), sa.column("rerun_key"))
PROVENANCE = sa.table("provenance", sa.column("id"), sa.column("submission_id"), sa.column("commit"))


def upgrade() -> None:
    op.add_column("submission", sa.Column("replicate_of", sa.String(16), nullable=True))
    op.add_column("submission", sa.Column("rerun_key", sa.String(64), nullable=True))
    _add_rerun_keys(op.get_bind())
    op.add_column("evaluation", sa.Column("replicates", sa.JSON(none_as_null=True), nullable=True))
    op.execute(RANK_AGAIN)


def downgrade() -> None:
    op.drop_column("evaluation", "replicates")
    op.drop_column("submission", "rerun_key")
    op.drop_column("submission", "replicate_of")
    op.execute(RANK_AGAIN)


def _add_rerun_keys(connection: sa.Connection) -> None:
    """Store the key of every submission whose earliest provenance names a commit; a later one is that of a duplicate."""
    earliest = sa.select(sa.func.min(PROVENANCE.c.id)).group_by(PROVENANCE.c.submission_id)
    query = sa.select(SUBMISSION.c.id, SUBMISSION.c.user_id, PROVENANCE.c.commit)
    query = query.join(PROVENANCE, PROVENANCE.c.submission_id == SUBMISSION.c.id)
    query = query.where(PROVENANCE.c.id.in_(earliest), PROVENANCE.c.commit.is_not(None))
    for submission_id, user_id, commit in connection.execute(query).all():
        key = sha256(f"{user_id}\0{commit}".encode()).hexdigest()
        connection.execute(SUBMISSION.update().where(SUBMISSION.c.id == submission_id).values(rerun_key=key))
