"""The leaderboard: which submissions are listed, in which order, and with which ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from app.db.models import Evaluation, Kind, Measurement, State, Submission, Version, Visibility
from app.services import provenance
from app.services.benchmarks import compatible
from app.services.views import BenchmarkView, Best, LeaderboardView, Row, published, ranking_numbers
from app.services.visibility import identity
from ldsboard.ceiling import attempt_gain
from ldsboard.comparison import rank_intervals

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def listed(session: Session, version: Version) -> list[tuple[Submission, Evaluation, Measurement]]:
    """Return the entries of a version, best first: of each owner and method the pinned or the newest ranked one that was scored.

    What is anonymous stands for itself: it does not go when its owner sends the same method under their name, which would tell
    whose it is.
    Equal scores, as they are published, stand in the order of submission.
    """
    query = (
        select(Submission, Evaluation, Measurement)
        .join(Evaluation, Evaluation.submission_id == Submission.id)
        .join(Measurement, Measurement.evaluation_id == Evaluation.id)
        .options(joinedload(Submission.user))
        .where(
            Evaluation.version_id == version.id,
            Evaluation.scorer_version == version.scorer_version,
            Measurement.part == "ranking",
            Submission.kind == Kind.RANKED,
            Submission.state == State.SCORED,
            Submission.visibility != Visibility.PRIVATE,
        )
        .order_by(Submission.pinned, Submission.created_at, Submission.id)
    )
    newest = {(row[0].user_id, row[0].method, row[0].visibility): row for row in session.execute(query)}

    def place(entry: tuple[Submission, Evaluation, Measurement]) -> tuple[float, object, str]:
        submission, _, measurement = entry
        lds = published({"lds": measurement.lds}, version.manifest["split"])["lds"]
        return (-lds, submission.created_at, submission.id)

    return sorted(newest.values(), key=place)


def rank(session: Session, version: Version) -> None:
    """Decide the rank intervals of all listed entries again, and store them with their evaluations."""
    for evaluation in session.scalars(select(Evaluation).where(Evaluation.version_id == version.id)):
        evaluation.rank_low = evaluation.rank_high = None
    entries = listed(session, version)
    if not entries:
        return
    ids = [evaluation.id for _, evaluation, _ in entries]
    query = select(Measurement.evaluation_id, Measurement.influence).where(
        Measurement.evaluation_id.in_(ids), Measurement.part == "ranking"
    )
    influences = dict(session.execute(query).all())
    influence_kM = np.stack([np.frombuffer(influences[i], dtype="<f8") for i in ids])
    intervals = rank_intervals([measurement.lds for *_, measurement in entries], influence_kM)
    for (_, evaluation, _), (low, high) in zip(entries, intervals, strict=True):
        evaluation.rank_low, evaluation.rank_high = low, high


def view(session: Session, version: Version, *, after: int = 0, limit: int | None = None) -> LeaderboardView:
    """Return a page of the leaderboard of a version, by default all of it."""
    entries = listed(session, version)
    limit = len(entries) if limit is None else limit
    manifest = version.manifest
    rows = []
    made = attempts(session, version)
    origins = provenance.newest(session, [submission.id for submission, *_ in entries])
    for submission, evaluation, measurement in entries[after : after + limit]:
        if evaluation.rank_low is None or evaluation.rank_high is None:
            raise LookupError(f"expected ranks of every listed entry, got none of {submission.id}")
        numbers = ranking_numbers(measurement, manifest, (evaluation.rank_low, evaluation.rank_high))
        count = gain = None
        if submission.visibility != Visibility.ANONYMOUS:  # equal counts would tell whose it is
            count = made[submission.user_id]
            spectrum, M = manifest["attempts_spectrum"], manifest["subsets"]["ranking"]
            gain = round(attempt_gain(numbers.lds, count, spectrum, M), 4)
        shown = identity(session, submission, None, origins.get(submission.id))
        rows.append(
            Row(
                id=submission.id,
                owner=shown.owner,
                method=shown.method,
                title=shown.title,
                tags=shown.tags,
                urls=shown.urls,
                **numbers.model_dump(),
                attempts=count,
                possible_gain=gain,
                cost=submission.cost,
                provenance=shown.provenance,
                created_at=submission.created_at,
            )
        )
    name = version.benchmark.name
    more = f"/api/v1/benchmarks/{name}/leaderboard?version={version.version}&after={after + limit}&limit={limit}"
    return LeaderboardView(
        benchmark=name,
        version=version.version,
        ceiling=manifest["ceiling"],
        ceiling_std_error=manifest["ceiling_std_error"],
        null_band=manifest["null_band"],
        rows=rows,
        next=more if after + limit < len(entries) else None,
    )


def attempts(session: Session, version: Version) -> dict[int, int]:
    """Return how many ranked submissions each user made to a version, over all methods, whatever became of them.

    Those to earlier versions that it is compatible with are among them, since what was learned there is of use here.
    """
    met = [
        known.id
        for known in version.benchmark.versions
        if known.version <= version.version and compatible(known, version)
    ]
    query = (
        select(Submission.user_id, func.count())
        .where(
            Submission.version_id.in_(met),
            Submission.kind == Kind.RANKED,
            Submission.counted,
            Submission.state.in_([State.SCORED, State.REJECTED, State.WITHDRAWN]),
        )
        .group_by(Submission.user_id)
    )
    return dict(session.execute(query).all())


def benchmark_view(session: Session, version: Version) -> BenchmarkView:
    """Return a benchmark as everybody sees it."""
    manifest = version.manifest
    shown = {name: manifest[name] for name in BenchmarkView.model_fields if name in manifest}
    entries = listed(session, version)
    best = None
    if entries:
        submission, _, measurement = entries[0]
        lds = ranking_numbers(measurement, manifest, None).lds
        first = identity(session, submission, None, None)
        best = Best(method=first.method, owner=first.owner, lds=lds)
    current = version.benchmark.current_version
    versions = [known.version for known in version.benchmark.versions if known.version <= current]
    return BenchmarkView(**shown, versions=versions, entries=len(entries), best=best)
