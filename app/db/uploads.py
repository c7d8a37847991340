"""The tables of idempotency keys, of multipart uploads and of provenance."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.base import Base, Int64, now, one_of
from app.db.models import Submission


class Idempotency(Base):
    """An idempotency key of a user for a route, and the submission that resulted from the call with this key.

    ``sha256`` is the SHA-256 of a file that was sent in a single request, or None until the file has arrived. The hash stays
    after the deletion of the file, so that a repeated call with another file is still refused. For a multipart upload,
    ``sha256`` is None, because `Upload` holds the hash.
    """

    __tablename__ = "idempotency"

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    route: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    sha256: Mapped[str | None] = mapped_column(String(64))


class Upload(Base):
    """A multipart upload. ``sha256`` is the announced hash of the file; ``digest`` is the SHA-256 of the upload token."""

    __tablename__ = "upload"
    __table_args__ = (CheckConstraint("part_bytes > 0", name="part_bytes"),)

    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    part_bytes: Mapped[Int64]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    stands_for: Mapped[str | None] = mapped_column(ForeignKey("submission.id"), index=True)
    """Id of the owner's earlier submission of the same file if the completed upload is a duplicate, otherwise None."""
    submission: Mapped[Submission] = relationship(foreign_keys=[submission_id])
    received: Mapped[list[UploadPart]] = relationship(viewonly=True)

    @property
    def part_count(self) -> int:
        """The number of upload parts; every part except the last has `part_bytes` bytes."""
        return -(-self.submission.size // self.part_bytes)

    def part_size(self, number: int) -> int:
        """Return the size of an upload part in bytes; `number` is from 0 to `part_count` - 1."""
        return min(self.part_bytes, self.submission.size - number * self.part_bytes)


class UploadPart(Base):
    """An upload part that has arrived."""

    __tablename__ = "part"

    submission_id: Mapped[str] = mapped_column(ForeignKey("upload.submission_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sha256: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[datetime] = mapped_column(default=now)


class Provider(StrEnum):
    """The software that hosts a repository and runs the workflows of the repository."""

    GITHUB = "github"
    GITLAB = "gitlab"
    FORGEJO = "forgejo"
    OTHER = "other"


class Provenance(Base):
    """A provenance of a submission. A submission has several provenances if its owner sent the file again from other commits.

    If ``verified`` is false, the owner states the provenance. If ``verified`` is true, the server took the provenance from the
    signed identity of a CI run. ``number`` is the number of a pull request or merge request; ``url`` is the page of the run.
    """

    __tablename__ = "provenance"
    __table_args__ = (
        one_of("provider", Provider),
        CheckConstraint("number > 0", name="number"),
        Index("ix_provenance_submission_id", "submission_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"))
    repository: Mapped[str | None] = mapped_column(String(200))
    commit: Mapped[str | None] = mapped_column(String(64))
    branch: Mapped[str | None] = mapped_column(String(255))
    number: Mapped[int | None]
    provider: Mapped[str | None] = mapped_column(String(16))
    url: Mapped[str | None] = mapped_column(String(500))
    verified: Mapped[bool] = mapped_column(default=False, server_default=false())
    at: Mapped[datetime] = mapped_column(default=now)
