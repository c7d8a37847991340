"""The tables of uploads that come in parts, and of where files come from."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.base import Base, now
from app.db.models import Submission


class Upload(Base):
    """A submission whose file comes in parts: what was announced, and the sha256 of the capability to send it."""

    __tablename__ = "upload"
    __table_args__ = (CheckConstraint("part_bytes > 0", name="part_bytes"),)

    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    part_bytes: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    stands_for: Mapped[str | None] = mapped_column(ForeignKey("submission.id"))
    """The earlier submission of the same file that this upload turned out to repeat."""
    submission: Mapped[Submission] = relationship(foreign_keys=[submission_id])

    @property
    def count(self) -> int:
        """How many parts there are: all of `part_bytes` but the last."""
        return -(-self.submission.size // self.part_bytes)

    def part_size(self, number: int) -> int:
        """Return how many bytes a part has; parts are numbered from 0."""
        return min(self.part_bytes, self.submission.size - number * self.part_bytes)


class Part(Base):
    """A part that has arrived."""

    __tablename__ = "part"

    submission_id: Mapped[str] = mapped_column(ForeignKey("upload.submission_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sha256: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[datetime] = mapped_column(default=now)


class Provenance(Base):
    """Where a submitted file says that it comes from; a file that is sent again may come from several commits."""

    __tablename__ = "provenance"
    __table_args__ = (Index("ix_provenance_submission_id", "submission_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"))
    repository: Mapped[str | None] = mapped_column(String(200))
    commit: Mapped[str | None] = mapped_column(String(64))
    url: Mapped[str | None] = mapped_column(String(500))
    at: Mapped[datetime] = mapped_column(default=now)
