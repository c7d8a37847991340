"""What the server holds of a user's uploads, for tests of interrupted and repeated sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.db.accounts import User
from app.db.models import Submission

if TYPE_CHECKING:
    from tests.app.service import Service


def states(service: Service, owner: str) -> list[str]:
    """Return the states of all submissions of a user, oldest first."""
    query = select(Submission.state).join(User, User.id == Submission.user_id).where(User.name == owner)
    with service.database.read() as session:
        return list(session.scalars(query.order_by(Submission.created_at)))
