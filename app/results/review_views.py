"""What a review link shows of a submission: the result and the rank, and nothing that names the owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from app.benchmarks.catalog import has_ranks
from app.leaderboard.disclosure import public_numbers, ranking_numbers, reserve_numbers
from app.leaderboard.views import benchmark_view
from app.results.current_evaluation import scored_evaluations
from app.results.replicate_sets import find_replicates, replicates_view
from app.submissions.replicates import is_declared_fitted
from app.submissions.visibility import visible_cost

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from app.db.models import Submission
    from app.leaderboard.prospective_ranks import ProspectiveRanks
    from app.leaderboard.schemas import BenchmarkView, Numbers, RankingNumbers, ReserveNumbers
    from app.results.schemas import ReplicatesView


class ReviewView(NamedTuple):
    """A submission as reviewers see it, whatever its visibility.

    The view leaves out everything that names the owner or leads to the owner's other submissions: the name and alias of the
    owner, title, description, tags, links, device, provenance, hash of the file, number of attempts, and visibility. The view
    shows the name of the method, and the owner is told so before making a link.
    """

    id: str
    created_at: datetime
    method: str
    kind: str
    benchmark: BenchmarkView
    ranking: RankingNumbers | None
    """Result on the ranking subsets; ``rank`` is the rank interval that the submission has, or would have, on the board now.

    The numbers are those of the one file. ``listed`` and ``rank`` are those of the mean if the submission has replicates.
    """
    public: Numbers
    reserve: ReserveNumbers | None
    """Result on the reserve; None until the benchmark is retired."""
    replicates: ReplicatesView | None
    """The mean over the replicates; None for a single file. No page may show ``ids``."""
    uses_subsets: bool
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
    replicates = find_replicates(session, [evaluation])[submission.id]
    uses_subsets = is_declared_fitted(submission, version)
    ranking = None
    if "ranking" in parts:
        # One of the replicates is the entry that has the place of their mean.
        places = [
            ((each.rank_low, each.rank_high), each.in_family) for each in replicates if each.rank_low and each.rank_high
        ]
        place, in_family = places[0] if places else (None, None)
        ranking = ranking_numbers(
            parts["ranking"], version.manifest, place, in_family=in_family, uses_subsets=uses_subsets
        )
        if place is None and has_ranks(version.manifest):
            ranking.rank = ranks.rank(session, replicates)
    shown = parts.get("ranking", parts["public"])
    return ReviewView(
        id=submission.id,
        created_at=submission.created_at,
        method=submission.method,
        kind=submission.kind,
        benchmark=benchmark_view(session, version).model_copy(update={"best": None}),
        ranking=ranking,
        public=public_numbers(parts["public"]),
        reserve=reserve_numbers(parts.get("reserve"), version.benchmark),
        replicates=replicates_view(replicates),
        uses_subsets=uses_subsets,
        cost=visible_cost(submission.cost, named=False),
        warnings=shown.warnings,
    )
