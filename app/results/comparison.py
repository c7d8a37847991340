"""Paired comparison of submissions on the subsets that both were scored on.

Legend: M subsets, N targets.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from app.db.models import Evaluation
from app.leaderboard.disclosure import round_for_publication
from app.results.current_evaluation import scored_evaluations
from app.results.schemas import ComparisonView, PairView
from app.submissions.schemas import BenchmarkName
from ldsboard.core.comparison import compare_influences
from ldsboard.core.significance import half_width
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from app.db.models import Submission


def compare(session: Session, a: Submission, b: Submission) -> ComparisonView:
    """Compare two submissions: on the ranking subsets if both are ranked, otherwise on the public subsets.

    Raises
    ------
    ProblemError
        ``compare.different``: the submissions belong to different versions or scorer versions. ``submission.not_scored``.
    """
    return ComparisonView(a=a.id, b=b.id, **_compare_pair(*_comparable(scored_evaluations(session, [a, b]))))


def compare_all(evaluations: Sequence[Evaluation]) -> list[PairView]:
    """Compare every pair of scored submissions, given by their `scored_evaluations`, in their order.

    Raises
    ------
    ProblemError
        ``compare.different``, as `compare` raises it.
    """
    return [_pair_view(a, b) for a, b in combinations(_comparable(evaluations), 2)]


def compare_with_first(session: Session, evaluation_ids: Sequence[int]) -> list[PairView]:
    """Compare the first of several finished evaluations against one version with each of the others, with few queries."""
    arrays = selectinload(Evaluation.measurements).undefer("*")
    query = select(Evaluation).where(Evaluation.id.in_(evaluation_ids)).options(arrays)
    found = {evaluation.id: evaluation for evaluation in session.scalars(query)}
    first, *others = (found[number] for number in evaluation_ids)
    return [_pair_view(first, other) for other in others]


def _pair_view(a: Evaluation, b: Evaluation) -> PairView:
    return PairView(a=a.submission_id, b=b.submission_id, **_compare_pair(a, b), wins=_wins(a, b))


def _comparable(evaluations: Sequence[Evaluation]) -> Sequence[Evaluation]:
    """Return evaluations as they are; raise ``compare.different`` unless version and scorer version agree."""
    if len({(evaluation.version_id, evaluation.scorer_version) for evaluation in evaluations}) > 1:
        names = [f"{other.version.benchmark.name} version {other.version.version}" for other in evaluations]
        raise ProblemError.mismatch(
            "compare.different",
            expected="submissions to the same version of a benchmark",
            got=" and ".join(names),
            hint="Compare submissions to one version, or submit the files to the same version.",
        )
    return evaluations


def _compare_pair(a: Evaluation, b: Evaluation) -> dict[str, Any]:
    """Return the published fields of `PairView` for two evaluations: the difference a minus b and its 95 % interval."""
    of_a, of_b = a.parts, b.parts
    part: Literal["ranking", "public"] = "ranking" if "ranking" in of_a and "ranking" in of_b else "public"
    first, second = of_a[part], of_b[part]
    influences = [np.frombuffer(measurement.influence, dtype="<f8") for measurement in (first, second)]
    comparison = compare_influences(first.lds - second.lds, *influences)
    split = a.version.manifest["split"] if part == "ranking" else "open"
    numbers = round_for_publication(vars(comparison), split)
    # The interval is computed from the rounded numbers, so that its ends reveal no further digit.
    middle, half = numbers["difference"], half_width(numbers["std_error"], influences[0].size)
    numbers |= round_for_publication({"low": middle - half, "high": middle + half}, split)
    return {
        "benchmark": BenchmarkName(name=a.version.benchmark.name, version=a.version.version),
        "part": part,
        "difference": numbers["difference"],
        "std_error": numbers["std_error"],
        "z": numbers["z"] if np.isfinite(numbers["z"]) else None,
        "p_value": numbers["p_value"],
        "ci": (numbers["low"], numbers["high"]),
    }


def _wins(a: Evaluation, b: Evaluation) -> tuple[int, int]:
    """Return the numbers of targets on which a, and on which b, has the higher rho on the public subsets."""
    rho_a_N, rho_b_N = (np.frombuffer(side.parts["public"].per_target, dtype="<f8") for side in (a, b))
    return int(np.count_nonzero(rho_a_N > rho_b_N)), int(np.count_nonzero(rho_b_N > rho_a_N))
