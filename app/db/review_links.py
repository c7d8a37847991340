"""The table of review links."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.base import Base, now
from app.db.models import Submission


class ReviewLink(Base):
    """The valid review link of a submission; ``digest`` is the SHA-256 of the secret in the link.

    A submission has at most one review link; a new link replaces ``digest``. The row is deleted when the link or the submission
    is withdrawn, and when the account of the owner is deleted.
    """

    __tablename__ = "review_link"

    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    submission: Mapped[Submission] = relationship()
