"""What a review link shows of a submission: the result and the rank, and nothing that names the owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from app.benchmarks.catalog import has_ranks
from app.leaderboard.disclosure import public_numbers, ranking_numbers
from app.leaderboard.views import benchmark_view
from app.results.current_evaluation import scored_evaluations
from app.submissions.visibility import visible_cost

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from app.db.models import Submission
    from app.leaderboard.prospective_ranks import ProspectiveRanks
    from app.leaderboard.schemas import BenchmarkView, Numbers, RankingNumbers


class ReviewView(NamedTuple):
    """A submission as reviewers see it, whatever its visibility.

    Left out is everything that names the owner or leads to the owner's other submissions: the name and alias of the owner, title,
    description, tags, links, device, provenance, hash of the file, number of attempts, and visibility. The name of the method is
    shown, and the owner is told so before making a link.
    """

    id: str
    created_at: datetime
    method: str
    kind: str
    benchmark: BenchmarkView
    ranking: RankingNumbers | None
    """Result on the ranking subsets; ``rank`` is the rank interval that the submission has, or would have, on the board now."""
    public: Numbers
    cost: dict[str, Any] | None
    warnings: list[str]


def review_view(session: Session, submission: Submission, ranks: ProspectiveRanks) -> ReviewView:
    """Return what a review link shows of a scored submission.

    Raises
    ------
    ProblemError
        ``submission.not_scored``: the submission has no result.
    """
    (evaluation,) = scored_evaluations(session, [submission])
    version, parts = evaluation.version, evaluation.parts
    ranking = None
    if "ranking" in parts:
        place = None
        if evaluation.rank_low is not None and evaluation.rank_high is not None:
            place = (evaluation.rank_low, evaluation.rank_high)
        ranking = ranking_numbers(parts["ranking"], version.manifest, place)
        if place is None and has_ranks(version.manifest):
            ranking.rank = ranks.rank(session, evaluation)
    shown = parts.get("ranking", parts["public"])
    return ReviewView(
        id=submission.id,
        created_at=submission.created_at,
        method=submission.method,
        kind=submission.kind,
        benchmark=benchmark_view(session, version).model_copy(update={"best": None}),
        ranking=ranking,
        public=public_numbers(parts["public"]),
        cost=visible_cost(submission.cost, named=False),
        warnings=shown.warnings,
    )
