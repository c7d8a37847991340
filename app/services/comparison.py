"""Whether one submission is better than another, on the subsets that both were scored on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from app.services.measurements import measured
from app.services.views import BenchmarkName, ComparisonView, published
from ldsboard.comparison import compare_influences
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.db.models import Submission


def compare(session: Session, a: Submission, b: Submission) -> ComparisonView:
    """Compare two submissions on the subsets that both were scored on, the ranking ones if they can.

    Raises
    ------
    ProblemError
        They belong to different versions, or one of them is not scored.
    """
    sides = measured(session, a), measured(session, b)
    version = sides[0].version
    if len({(side.version_id, side.scorer_version) for side in sides}) > 1:
        names = " and ".join(f"{side.version.benchmark.name} version {side.version.version}" for side in sides)
        raise ProblemError(
            "compare.different",
            expected="two submissions to the same version of a benchmark",
            got=names,
            hint="Submit both files to the same benchmark.",
        )
    of_a, of_b = (side.parts for side in sides)
    part: Literal["ranking", "public"] = "ranking" if "ranking" in of_a and "ranking" in of_b else "public"
    first, second = of_a[part], of_b[part]
    influences = [np.frombuffer(measurement.influence, dtype="<f8") for measurement in (first, second)]
    difference = compare_influences(first.lds - second.lds, *influences)
    split = version.manifest["split"] if part == "ranking" else "open"
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
        benchmark=BenchmarkName(name=version.benchmark.name, version=version.version),
        part=part,
        difference=numbers["difference"],
        std_error=numbers["std_error"],
        z=numbers["z"] if np.isfinite(numbers["z"]) else None,
        p_value=numbers["p_value"],
    )
