"""Paired comparison of submissions, or of the means over their replicates, on the subsets that both were scored on.

Legend: M subsets, N targets.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from app.leaderboard.averages import Mean, mean_of
from app.leaderboard.disclosure import lds_difference, round_for_publication, round_lds
from app.results.current_evaluation import scored_evaluations
from app.results.replicate_sets import find_replicates, load_replicates
from app.results.schemas import PairView
from app.submissions.replicates import is_declared_fitted
from app.submissions.schemas import BenchmarkName
from ldsboard.core.comparison import compare_influences
from ldsboard.core.replicates import Reruns, add_reruns, critical_values
from ldsboard.core.significance import standard_error
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from app.db.models import Evaluation, Submission, Version
    from app.leaderboard.entries import Entry


def compare(session: Session, a: Submission, b: Submission) -> PairView:
    """Compare two submissions: on the ranking subsets if both are ranked, otherwise on the public subsets.

    A submission with replicates stands for their mean, unless the two submissions are replicates of each other.

    Raises
    ------
    ProblemError
        ``compare.different``: the submissions were scored against different versions, or by different versions of the scorer.
        ``submission.not_scored``: a submission has no result yet.
    """
    (pair,) = compare_all(session, scored_evaluations(session, [a, b]))
    return pair


def compare_all(session: Session, evaluations: Sequence[Evaluation]) -> list[PairView]:
    """Return the comparison of every pair of evaluations: the first with the second, the first with the third, and so on.

    A submission with replicates stands for their mean, unless the two submissions of the pair are replicates of each other.

    Parameters
    ----------
    evaluations
        Evaluations with the arrays of psi and rho, as `scored_evaluations` returns them.

    Raises
    ------
    ProblemError
        ``compare.different``: the evaluations are against different versions, or by different versions of the scorer.
    """
    if len({(evaluation.version_id, evaluation.scorer_version) for evaluation in evaluations}) > 1:
        names = [
            f"{other.version.benchmark.name} version {other.version.version} (scorer version {other.scorer_version})"
            for other in evaluations
        ]
        raise ProblemError.mismatch(
            "compare.different",
            expected="results of the same scorer version on the same version of a benchmark",
            got=" and ".join(names),
            hint="Compare submissions to one version, or submit the files to the same version.",
        )
    replicates = find_replicates(session, evaluations)
    return [_compare_pair(a, b, replicates) for a, b in combinations(evaluations, 2)]


def compare_with_first(session: Session, version: Version, entries: Sequence[Entry]) -> list[PairView]:
    """Return the comparisons of the first entry of a board with the second, with the third, and so on.

    An entry with replicates stands for their mean.
    """
    replicates = load_replicates(session, version, entries)
    own = {each.submission_id: each for members in replicates.values() for each in members}
    first, *others = (own[entry.id] for entry in entries)
    return [_compare_pair(first, other, replicates) for other in others]


def smallest_visible_difference(session: Session, version: Version, entries: Sequence[Entry]) -> float | None:
    """Return the median half width of the 95 % intervals of the differences in LDS on the ranking subsets, over all pairs.

    An entry with replicates stands for their mean. The result is None for fewer than two entries. The result is not rounded for
    publication, so publish the result only for open benchmarks.
    """
    if len(entries) < 2:  # noqa: PLR2004 -- a pair
        return None
    replicates = load_replicates(session, version, entries)
    means = [mean_of([each.parts["ranking"] for each in replicates[entry.id]], "open") for entry in entries]
    paired_error = np.array([standard_error(a.influence_M - b.influence_M) for a, b in combinations(means, 2)])
    columns = [np.array(column) for column in zip(*(mean.reruns for mean in means), strict=True)]
    sides = [Reruns(*(column[side] for column in columns)) for side in np.triu_indices(len(means), 1)]
    error = add_reruns(paired_error, *sides)
    return float(np.median(critical_values(means[0].influence_M.size, error) * error.std_error))


def _compare_pair(a: Evaluation, b: Evaluation, replicates: dict[str, list[Evaluation]]) -> PairView:
    """Return the difference in LDS, a minus b, of two evaluations, with a 95 % interval, rounded for publication.

    `replicates` is the result of `find_replicates` or `load_replicates`. Each side is the mean over its replicates, unless a and
    b are replicates of each other.
    """
    part: Literal["ranking", "public"] = "ranking" if "ranking" in a.parts.keys() & b.parts.keys() else "public"
    split = part_split(a.version, part)
    mean_a, mean_b = (mean_of([each.parts[part] for each in replicates[side.submission_id]], split) for side in (a, b))
    if any(each.submission_id == b.submission_id for each in replicates[a.submission_id]):
        # Two replicates of one method are compared as files. All their replicates tell how much a rerun moves.
        reruns = mean_a.reruns._replace(averaged=1)
        mean_a, mean_b = (mean_of([side.parts[part]], split) for side in (a, b))
        mean_a = mean_a._replace(reruns=reruns)
    numbers = paired_difference(mean_a, mean_b, split)
    rho_a_N, rho_b_N = (np.frombuffer(evaluation.parts["public"].per_target, dtype="<f8") for evaluation in (a, b))
    return PairView(
        a=a.submission_id,
        b=b.submission_id,
        benchmark=BenchmarkName(name=a.version.benchmark.name, version=a.version.version),
        part=part,
        lds=(round_lds(mean_a.lds, split), round_lds(mean_b.lds, split)),
        difference=numbers["difference"],
        std_error=numbers["std_error"],
        z=numbers["z"] if np.isfinite(numbers["z"]) else None,
        p_value=numbers["p_value"],
        replicates=numbers["replicates"],
        spread=numbers["spread"],
        note=numbers["note"],
        uses_subsets=(is_declared_fitted(a.submission, a.version), is_declared_fitted(b.submission, b.version)),
        ci=(numbers["low"], numbers["high"]),
        wins=(int(np.count_nonzero(rho_a_N > rho_b_N)), int(np.count_nonzero(rho_b_N > rho_a_N))),
    )


def part_split(version: Version, part: str) -> str:
    """Return the split, ``protected`` or ``open``, that decides how numbers on the subsets `part` are rounded for publication.

    If `part` is ``ranking``, the result is the split of the version. If `part` is ``public``, the result is ``open``: numbers are
    not rounded.
    """
    split: str = version.manifest["split"]
    return split if part == "ranking" else "open"


def paired_difference(a: Mean, b: Mean, split: str) -> dict[str, Any]:
    """Return the LDS of a minus the LDS of b on the same subsets, rounded for publication.

    Parameters
    ----------
    a, b
        The results of `mean_of`.
    split
        The result of `part_split` for the subsets.

    Returns
    -------
    dict
        ``difference``, ``std_error``, ``z``, ``p_value``, ``replicates``, ``spread`` and ``note``, as the attributes of
        `ldsboard.core.comparison.Comparison`; and the ends ``low`` and ``high`` of the 95 % interval of the difference.
    """
    difference = lds_difference(a.lds, b.lds, split)
    found = compare_influences(difference, a.influence_M, b.influence_M, reruns=(a.reruns, b.reruns))
    names = ("difference", "std_error", "z", "p_value")
    numbers = round_for_publication({name: getattr(found, name) for name in names}, split)
    # The interval is computed from the rounded standard error, so that the interval reveals no further digit.
    half = found.critical * numbers["std_error"]
    middle = numbers["difference"]
    ends = round_for_publication({"low": middle - half, "high": middle + half}, split)
    spread = None if found.spread is None else round_lds(found.spread, split)
    return {**numbers, **ends, "replicates": found.replicates, "spread": spread, "note": found.note}
