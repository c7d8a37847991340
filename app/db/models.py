"""The tables of benchmarks, submissions and evaluations, and the states of a submission."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.accounts import User
from app.db.base import Base, Int64, now, one_of, random_id


class State(StrEnum):
    """State of a submission."""

    UPLOADING = "uploading"
    QUEUED = "queued"
    SCORING = "scoring"
    SCORED = "scored"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.UPLOADING: frozenset({State.QUEUED, State.EXPIRED}),
    State.QUEUED: frozenset({State.SCORING, State.WITHDRAWN}),
    State.SCORING: frozenset({State.SCORED, State.REJECTED, State.FAILED, State.QUEUED}),
    State.SCORED: frozenset({State.WITHDRAWN}),
    State.REJECTED: frozenset({State.WITHDRAWN}),
    State.FAILED: frozenset({State.QUEUED, State.WITHDRAWN}),
    State.EXPIRED: frozenset(),
    State.WITHDRAWN: frozenset(),
}
"""The states to which a submission in each state can move."""

FINAL = frozenset({State.SCORED, State.REJECTED, State.FAILED, State.EXPIRED, State.WITHDRAWN})
"""States that only a user or an operator can end. Retention can delete a submission in these states."""


class Kind(StrEnum):
    """Kind of a submission. Only ranked submissions can be listed on boards and use the quota of ranked submissions."""

    RANKED = "ranked"
    PRACTICE = "practice"


class Visibility(StrEnum):
    """Who may see a submission: everybody; everybody, without the owner's name; or only the owner and the admins."""

    PUBLIC = "public"
    ANONYMOUS = "anonymous"
    PRIVATE = "private"


class Benchmark(Base):
    """A benchmark. Submissions go to the current version. The next version, if any, becomes current after rescoring.

    A retired benchmark takes no more submissions and versions, and its results on the reserve are shown.
    """

    __tablename__ = "benchmark"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    current_version: Mapped[int]
    next_version: Mapped[int | None]
    retired_at: Mapped[datetime | None]
    versions: Mapped[list[Version]] = relationship(order_by="Version.version", back_populates="benchmark")


class Version(Base):
    """A published, immutable version of a benchmark; the arrays of the version are in the data folder.

    The board of the version shows only results of ``scorer_version``. Every change of the board's entries raises
    ``board_revision``; ``ranked_revision`` is the board revision for which the stored ranks were computed. ``reserve_subsets`` is
    the number of hidden subsets in the reserve; the manifest does not count them.
    """

    __tablename__ = "version"
    __table_args__ = (UniqueConstraint("benchmark_id", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    benchmark_id: Mapped[int] = mapped_column(ForeignKey("benchmark.id"))
    version: Mapped[int]
    manifest: Mapped[dict[str, Any]]
    scorer_version: Mapped[int]
    board_revision: Mapped[int] = mapped_column(default=0)
    ranked_revision: Mapped[int] = mapped_column(default=0)
    reserve_subsets: Mapped[int] = mapped_column(default=0, server_default="0")
    created_at: Mapped[datetime] = mapped_column(default=now)
    benchmark: Mapped[Benchmark] = relationship(back_populates="versions")


class File(Base):
    """A stored score file, deduplicated by its SHA-256; ``references`` counts the submissions that refer to the file."""

    __tablename__ = "file"
    __table_args__ = (CheckConstraint('"references" > 0', name="referenced"),)

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[Int64]
    references: Mapped[int]


class Submission(Base):
    """The metadata and the state of a score file that a user sent for a version of a benchmark.

    While ``counted`` is false, the submission uses no quota of submissions and is not an attempt. ``counted`` is false for a
    submission that was withdrawn after a server error. ``counted`` is also false if the SHA-256 that the user announced is that
    of a duplicate. If the file that arrives is no duplicate, ``counted`` becomes true.
    ``uses_subsets`` is the owner's declaration that the scores are fitted to the ranking subsets or to their margins.
    ``suspension`` holds ``reason``, ``contact`` and ``at`` while an admin hides the submission from everybody except its owner
    and the admins.

    ``replicate_of`` is the id of the root if the owner states that the submission is a replicate, otherwise None. The column is
    no foreign key, because the id joins the replicates also after the root was deleted. Ids are never used again.

    ``rerun_key`` joins the submissions that one commit sent, see `app.submissions.replicates.rerun_key`. The key is set when the
    submission is created, never changes, stays when the account of the owner is deleted, and is shown to nobody.
    """

    __tablename__ = "submission"
    __table_args__ = (
        one_of("state", State),
        one_of("kind", Kind),
        one_of("visibility", Visibility),
        CheckConstraint("(state = 'rejected' OR state = 'failed') = (error IS NOT NULL)", name="error"),
        Index("ix_submission_board", "version_id", "kind", "state"),
        Index("ix_submission_quota", "user_id", "version_id", "created_at"),
        Index("ix_submission_recent", "user_id", "created_at"),
        Index("ix_submission_waiting", "state", "user_id"),
        Index(
            "ix_submission_pinned",
            "user_id",
            "version_id",
            "method",
            "visibility",
            "uses_subsets",
            unique=True,
            sqlite_where=text("pinned"),
            postgresql_where=text("pinned"),
        ),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=random_id)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("version.id"))
    kind: Mapped[str] = mapped_column(String(16))
    visibility: Mapped[str] = mapped_column(String(16), default=Visibility.PUBLIC)
    state: Mapped[str] = mapped_column(String(16), default=State.UPLOADING)
    method: Mapped[str] = mapped_column(String(64))
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(String(2000), default="")
    tags: Mapped[list[str]] = mapped_column(default=list)
    urls: Mapped[dict[str, str]] = mapped_column(default=dict)
    pinned: Mapped[bool] = mapped_column(default=False)
    counted: Mapped[bool] = mapped_column(default=True, server_default=true())
    uses_subsets: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    cost: Mapped[dict[str, Any] | None]
    size: Mapped[Int64]
    file_sha256: Mapped[str | None] = mapped_column(ForeignKey("file.sha256"), index=True)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    suspension: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    replicate_of: Mapped[str | None] = mapped_column(String(16))
    rerun_key: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    user: Mapped[User] = relationship()
    version: Mapped[Version] = relationship()
    evaluations: Mapped[list[Evaluation]] = relationship(back_populates="submission")


class Alias(Base):
    """The alias of a user on one benchmark: a number that anonymous submissions show instead of the user's name."""

    __tablename__ = "alias"
    __table_args__ = (UniqueConstraint("benchmark_id", "number"),)

    benchmark_id: Mapped[int] = mapped_column(ForeignKey("benchmark.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    number: Mapped[int]


class Evaluation(Base):
    """The scoring of one submission against one version by one version of the scorer.

    ``scored_at`` is None until the evaluation has a result, and stays None if the file is rejected or the server fails too often.
    ``claimed_at`` is None while no worker has claimed the evaluation. ``claims`` counts the claims; a worker saves nothing once
    this number is not that of its own claim. ``worker`` is the process that holds the claim, or that has ended the evaluation, as
    HOST/PID; ``job`` is the ticket under which it claimed. ``losses`` counts the workers that died with the evaluation;
    ``lost_workers`` has of each ``worker``, ``kind`` (of the evaluation), ``seen_at`` (its last sign of life), and ``at`` (of the
    requeueing). ``failures`` counts the server errors; after one, nothing is retried before ``not_before``. ``seconds`` is how
    long the scoring took. ``percent`` is how many percent of the targets are scored, while a worker runs the first evaluation of
    a submission; None before 1 % and in the first second. ``replicates`` holds the mean over replicates of an entry that has
    replicates, see `app.leaderboard.averages.average`.
    """

    __tablename__ = "evaluation"
    __table_args__ = (UniqueConstraint("submission_id", "version_id", "scorer_version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("version.id"))
    scorer_version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)
    claimed_at: Mapped[datetime | None]
    claims: Mapped[int] = mapped_column(default=0, server_default="0")
    losses: Mapped[int] = mapped_column(default=0, server_default="0")
    job: Mapped[Int64 | None]
    worker: Mapped[str | None] = mapped_column(String(64))
    lost_workers: Mapped[list[dict[str, str]] | None] = mapped_column(JSON(none_as_null=True))
    not_before: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(default=0)
    scored_at: Mapped[datetime | None]
    seconds: Mapped[float | None]
    percent: Mapped[int | None]
    rank_low: Mapped[int | None]
    rank_high: Mapped[int | None]
    in_family: Mapped[bool | None]
    separable_from_first: Mapped[bool | None]
    replicates: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    submission: Mapped[Submission] = relationship(back_populates="evaluations")
    version: Mapped[Version] = relationship()
    measurements: Mapped[list[Measurement]] = relationship(back_populates="evaluation", lazy="selectin")

    @property
    def parts(self) -> dict[str, Measurement]:
        """The measurements of the evaluation, by the name of the subsets: ``public``, ``ranking`` or ``reserve``."""
        return {measurement.part: measurement for measurement in self.measurements}


class Measurement(Base):
    """The numbers of an evaluation on the ``public`` or the ``ranking`` subsets or on the ``reserve``, at full precision.

    Numbers of the reserve leave the server only when the benchmark is retired. ``influence`` (psi) and ``per_target`` (rho) are
    arrays of little-endian float64. If the ranking subsets are hidden, the arrays for these subsets and for the reserve never
    leave the server.
    """

    __tablename__ = "measurement"
    __table_args__ = (
        CheckConstraint("part IN ('public', 'ranking', 'reserve')", name="part"),
        # A board reads these numbers of all its entries. A row with its arrays takes whole pages, an entry of the index does not.
        Index(
            "ix_measurement_numbers",
            *("evaluation_id", "part", "lds", "std_error", "ci_low", "ci_high", "z_random", "p_random"),
        ),
    )

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id"), primary_key=True)
    part: Mapped[str] = mapped_column(String(8), primary_key=True)
    lds: Mapped[float]
    std_error: Mapped[float]
    ci_low: Mapped[float]
    ci_high: Mapped[float]
    mean_p: Mapped[float]
    z_random: Mapped[float]
    p_random: Mapped[float] = mapped_column(server_default="1")
    std_error_new_targets: Mapped[float | None]
    constant_predictions: Mapped[int]
    grid_loss: Mapped[float]
    warnings: Mapped[list[str]]
    influence: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    per_target: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    evaluation: Mapped[Evaluation] = relationship(back_populates="measurements")


class Attribution(Base):
    """The proponents, opponents and predictions of a score file for one of the targets shown on the submission's page.

    ``examples`` holds 2k indices of training examples, little-endian int32: the k with the highest scores (highest first), then
    the k with the lowest scores (lowest first). ``scores`` holds the scores of these training examples, in the same order.
    ``predictions`` holds the predictions for the public subsets. ``scores`` and ``predictions`` are little-endian float64. An
    evaluation has no rows here if it is older than this table, or if retention has deleted its rows.
    """

    __tablename__ = "attribution"

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id"), primary_key=True)
    target: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    examples: Mapped[bytes] = mapped_column(LargeBinary)
    scores: Mapped[bytes] = mapped_column(LargeBinary)
    predictions: Mapped[bytes] = mapped_column(LargeBinary)


class Event(Base):
    """A change of a submission's state; ``before`` is None at its creation. Rows never change; retention deletes old rows."""

    __tablename__ = "event"

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    before: Mapped[str | None] = mapped_column(String(16))
    after: Mapped[str] = mapped_column(String(16))
    detail: Mapped[str | None] = mapped_column(String(500))
    at: Mapped[datetime] = mapped_column(default=now)
