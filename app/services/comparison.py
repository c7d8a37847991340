"""Whether one submission is better than another, on the subsets that both were scored on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import undefer

from app.db.models import Evaluation, Measurement, Submission
from app.services.views import BenchmarkName, ComparisonView, published
from ldsboard.comparison import compare_influences
from ldsboard.problems import ProblemError
from ldsboard.result import SCORER_VERSION

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def compare(session: Session, a: Submission, b: Submission) -> ComparisonView:
    """Compare two submissions on the subsets that both were scored on, the ranking ones if they can.

    Raises
    ------
    ProblemError
        They belong to different versions, or one of them is not scored.
    """
    if a.version_id != b.version_id:
        names = " and ".join(f"{s.version.benchmark.name} version {s.version.version}" for s in (a, b))
        raise ProblemError(
            "compare.different",
            expected="two submissions to the same version of a benchmark",
            got=names,
            hint="Submit both files to the same benchmark.",
        )
    parts = [_measured(session, submission) for submission in (a, b)]
    part: Literal["ranking", "public"] = "ranking" if all("ranking" in measured for measured in parts) else "public"
    first, second = (measured[part] for measured in parts)
    influences = [np.frombuffer(measurement.influence, dtype="<f8") for measurement in (first, second)]
    difference = compare_influences(first.lds - second.lds, *influences)
    split = a.version.manifest["split"] if part == "ranking" else "open"
    numbers = published(
        {
            "difference": difference.difference,
            "std_error": difference.std_error,
            "z": difference.z,
            "p_value": difference.p_value,
        },
        split,
    )
    return ComparisonView(
        a=a.id,
        b=b.id,
        benchmark=BenchmarkName(name=a.version.benchmark.name, version=a.version.version),
        part=part,
        difference=numbers["difference"],
        std_error=numbers["std_error"],
        z=numbers["z"] if np.isfinite(numbers["z"]) else None,
        p_value=numbers["p_value"],
    )


def _measured(session: Session, submission: Submission) -> dict[str, Measurement]:
    query = session.scalars(
        select(Measurement)
        .join(Evaluation)
        .where(
            Evaluation.submission_id == submission.id,
            Evaluation.version_id == submission.version_id,
            Evaluation.scorer_version == SCORER_VERSION,
        )
        .options(undefer(Measurement.influence))
    ).all()
    if not query:
        raise ProblemError(
            "submission.not_scored",
            expected="two scored submissions",
            got=f"{submission.id}, which is {submission.state}",
            hint="Wait until its state is 'scored'.",
        )
    return {measurement.part: measurement for measurement in query}
