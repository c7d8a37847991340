"""Counterfactual evaluations for tests, saved without training any model.

Legend: T targets, K numbers of removed examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import delete

from app.db.base import now
from app.db.counterfactuals import Counterfactual
from app.db.models import Submission
from ldsboard.counterfactual.plan import CODE_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tests.app.service import Service

BEFORE = 4.1
"""Margin of each target before."""


def save_evaluation(service: Service, submission_id: str, **fields: Any) -> None:
    """Replace the evaluation of a submission; `fields` are those of the row."""
    with service.database.write() as session:
        session.execute(delete(Counterfactual).where(Counterfactual.submission_id == submission_id))
        version = session.get_one(Submission, submission_id).version_id
        session.add(Counterfactual(submission_id=submission_id, version_id=version, code=CODE_VERSION, **fields))


def save_falls(
    service: Service,
    submission_id: str,
    targets: Sequence[int],
    sizes: Sequence[int],
    headline: int,
    runs: int = 3,
    scale: float = 1.0,
    **changes: Any,
) -> NDArray[np.float64]:
    """Replace the evaluation of a submission by one with a result; return the falls, float64 (2, K, T).

    The falls of proponents are positive and those of opponents negative, if `scale` is positive. `changes` replaces numbers of
    all rows.
    """
    spread = 1 + np.arange(len(targets)) / 10
    falls = scale * np.array([np.outer(sizes, spread), np.outer(sizes, -spread / 2)]) / max(sizes)
    error = float(falls[0, -1].std(ddof=1) / np.sqrt(len(targets))) if len(targets) > 1 else None
    rows = [
        {
            "direction": direction,
            "removed": size,
            "fall": float(falls[side, place].mean()),
            "confidence_interval": [None, None] if error is None else [0.0625, 0.5],
            "std_error": error,
            "std_error_runs": 0.03125 if runs > 1 else None,
            "loss": 0.25,
            "flipped": 0.125,
            "others": 0.375,
            "control": -0.0625,
            "above_control": None if error is None else 7.5,
            "p_value": None if error is None else 1e-9,
            "ties": 0,
            "wrong_sign": 0,
            "whole_class": 0,
        }
        | changes
        for side, direction in enumerate(("proponents", "opponents"))
        for place, size in enumerate(sizes)
    ]
    numbers = {"targets": list(targets), "sizes": list(sizes), "headline": headline, "runs": runs, "rows": rows}
    numbers |= {"before": [BEFORE] * len(targets), "seconds": 41.5}
    shown = falls[0, list(sizes).index(headline)].astype("<f8")
    save_evaluation(
        service,
        submission_id,
        ended_at=now(),
        numbers=numbers,
        falls=falls.astype("<f8").tobytes(),
        headline=shown.tobytes(),
    )
    return falls
