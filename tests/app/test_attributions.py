"""Stored attributions: extreme scores and public predictions match the file; nothing depends on hidden subsets.

Legend: M public subsets, n training examples, N targets, k examples at each end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats
from sqlalchemy import select

from app.db.models import Attribution, Evaluation, State
from app.scoring import rescoring, stored_attributions
from app.scoring.sandbox.attributions import EXAMPLES, EXTREME_TARGETS, FIXED_TARGETS, shown_targets
from ldsboard.core import result
from tests.app.service import npy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.scoring.stored_attributions import TargetAttribution
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness


def saved_attributions(harness: ServiceHarness) -> dict[int, TargetAttribution]:
    """Return the stored attributions of the only evaluation, by target."""
    with harness.database.read() as session:
        (evaluation,) = session.scalars(select(Evaluation)).all()
        found = stored_attributions.load(session, evaluation)
    return {target: scores for target, scores in found.items() if scores is not None}


def score_file(harness: ServiceHarness, scores_nN: NDArray[np.floating]) -> dict[int, TargetAttribution]:
    """Score a file and return its stored attributions, by target."""
    submission_id = harness.accept(npy(scores_nN))
    assert harness.evaluator.evaluate_next()
    assert harness.state(submission_id) == State.SCORED
    return saved_attributions(harness)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_extreme_scores_and_predictions_match_the_file(harness: ServiceHarness, toy: Example, kind: str) -> None:
    scores_nN = toy.scores().astype(kind)
    scores_nN[:, 1] = np.tile([3, 3, -1, 0, 0, -1], 10)  # ties at both ends
    scores_nN[:, 2] = 0
    masks_Mn = toy.bundle.masks_Mn
    found = score_file(harness, scores_nN)
    assert list(found) == list(range(7))
    for target, scores in found.items():
        scores_n = scores_nN[:, target].astype(np.float64)
        high = sorted(range(60), key=lambda i: (-scores_n[i], i))[:EXAMPLES]
        low = sorted(range(60), key=lambda i: (scores_n[i], i))[:EXAMPLES]
        assert scores.proponents == [(i, scores_n[i]) for i in high]
        assert scores.opponents == [(i, scores_n[i]) for i in low]
        # Float16 and float32 scores fit the summation grid exactly; float64 scores are rounded before they are summed.
        sums_M = [math.fsum(scores_n[mask_n]) for mask_n in masks_Mn]
        tolerance = 60 * np.abs(scores_n).max() * 2.0**-47 if kind == "float64" else 0
        np.testing.assert_allclose(scores.predictions_M, sums_M, rtol=0, atol=tolerance)
    assert found[1].proponents[0] == (0, 3.0)
    assert [i for i, _ in found[2].opponents] == list(range(EXAMPLES))


def test_predictions_reproduce_the_public_correlations(harness: ServiceHarness, toy: Example) -> None:
    found = score_file(harness, toy.scores())
    margins_MN = toy.bundle.margins_MRN.mean(axis=1, dtype=np.float64)
    rho_N = toy.offline(toy.scores())["public"].per_target
    for target, scores in found.items():
        assert stats.spearmanr(scores.predictions_M, margins_MN[:, target])[0] == pytest.approx(
            rho_N[target], abs=1e-12
        )


def test_predictions_of_hidden_subsets_are_not_stored(harness: ServiceHarness, toy: Example) -> None:
    hidden = toy.bundle.hidden()
    score_file(harness, toy.scores())
    predicted_HN = hidden.masks_Mn @ toy.scores().astype(np.float64)
    with harness.database.read() as session:
        for row in session.scalars(select(Attribution)):
            assert len(row.predictions) == 8 * 40
            predictions_M = np.frombuffer(row.predictions)
            assert np.abs(predictions_M[:, None] - predicted_HN[:, row.target]).min() > 1e-9


def test_shown_targets_are_evenly_spread_and_include_extremes() -> None:
    rho_N = np.random.default_rng(0).uniform(size=1000)
    rho_N[[5, 6, 7]], rho_N[[700, 701]], rho_N[702] = 2, -2, -2
    shown = shown_targets(rho_N)
    fixed = {0, 91, 182, 272, 363, 454, 545, 636, 727, 817, 908, 999}
    assert (set(shown), len(fixed), EXTREME_TARGETS) == (fixed | {5, 6, 7, 700, 701, 702}, FIXED_TARGETS, 3)
    rho_N[:] = 0.5  # ties: the first targets are the extremes
    assert set(shown_targets(rho_N)) == fixed | {0, 1, 2}
    assert list(shown_targets(np.array([0.1]))) == [0]


def test_withdrawal_deletes_attributions(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    assert harness.evaluator.evaluate_next()
    assert harness.count(Attribution) == 7
    with harness.database.write() as session:
        harness.withdraw(session, submission_id)
    assert harness.count(Attribution) == 0


def test_new_scorer_version_stores_missing_attributions(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.accept(npy(toy.scores()))
    assert harness.evaluator.evaluate_next()
    with harness.database.write() as session:
        for row in session.scalars(select(Attribution)):
            session.delete(row)  # as if the file was scored before attributions were stored
    monkeypatch.setattr(result, "SCORER_VERSION", 2)
    with harness.database.write() as session:
        assert rescoring.queue_rescorings(session) == 1
    assert harness.evaluator.evaluate_next()
    assert harness.count(Attribution) == 7


def test_predictions_that_overflow_float64_are_stored_as_infinite(harness: ServiceHarness, toy: Example) -> None:
    scores_nN = toy.scores().astype(np.float64)
    scores_nN[:, 0] = 1.7e308
    found = score_file(harness, scores_nN)
    assert np.isinf(found[0].predictions_M).all()
    assert found[0].proponents[0] == (0, 1.7e308)
