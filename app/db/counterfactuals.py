"""The table of counterfactual evaluations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.base import Base, now
from app.db.models import Submission, Version


class Counterfactual(Base):
    """The counterfactual evaluation of a listed submission against a version, by one version of the retraining code.

    ``claimed_at`` is None while no process runs it. ``claims`` counts the claims; a process saves nothing once this number is not
    that of its own claim. ``worker`` is the process that holds the claim, as HOST/PID. ``percent`` is how many percent of the
    models are trained. ``failures`` counts the failures; after one, nothing is tried again before ``not_before``.

    ``ended_at`` is None until there is a result or a ``reason`` for which there is none. ``numbers`` holds the plan (``targets``,
    ``sizes``, ``headline``, ``runs``), the margin of each target ``before``, the processor ``seconds``, and the ``rows`` of
    `ldsboard.counterfactual.result.CounterfactualResult`.
    ``falls`` holds the fall of the margin of each target, little-endian float64 (2, sizes, targets): proponents, then opponents.
    ``headline`` holds that of the headline, little-endian float64 (targets,), which boards read for all entries.
    """

    __tablename__ = "counterfactual"
    __table_args__ = (UniqueConstraint("submission_id", "version_id", "code"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id", ondelete="CASCADE"))
    version_id: Mapped[int] = mapped_column(ForeignKey("version.id", ondelete="CASCADE"), index=True)
    code: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)
    claimed_at: Mapped[datetime | None]
    claims: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(64))
    percent: Mapped[int | None]
    failures: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    reason: Mapped[str | None] = mapped_column(String(500))
    numbers: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    falls: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    headline: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    submission: Mapped[Submission] = relationship()
    version: Mapped[Version] = relationship()
