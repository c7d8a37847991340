"""`lds` gives the results of the notebook that this project started from, cell by cell.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import spearmanr

from ldsboard import lds

if TYPE_CHECKING:
    from pathlib import Path


def smallest_gap(predictions_MN: torch.Tensor) -> float:
    return float(predictions_MN.sort(dim=0).values.diff(dim=0).min())


def test_lds_equals_notebook_for_random_scores_over_twenty_subsets() -> None:
    # 1. twenty random halves of 5,000 training examples, as index lists
    rng = np.random.default_rng(3)
    subsets = [rng.choice(5_000, 2_500, replace=False) for _ in range(20)]
    # 2. the outputs of the models trained on these subsets: one fixed array
    outputs = torch.from_numpy(rng.normal(size=(20, 256)).astype(np.float32))
    # 3. the sum of the scores in each subset predicts the outputs
    scores = torch.from_numpy(rng.normal(size=(5_000, 256)).astype(np.float32))
    predictions = torch.stack([scores[torch.from_numpy(subset)].sum(dim=0) for subset in subsets])
    # No two predictions are so close that rounding in float32, about 1e-5, could change their order.
    assert smallest_gap(predictions) > 1e-4
    # 4. rank correlations, one target after the other
    loop = [spearmanr(outputs[:, j], predictions[:, j]) for j in range(256)]

    result = lds(scores, subsets, outputs)
    np.testing.assert_allclose(result.per_target, [r.statistic for r in loop], rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.p_values, [r.pvalue for r in loop], rtol=0, atol=1e-12)
    assert abs(result.lds - np.mean([r.statistic for r in loop])) < 1e-12
    assert "scores.random" in result.warnings


def test_lds_equals_notebook_for_two_thousand_targets_from_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    M, n, N = 50, 1_000, 2_000
    np.save(tmp_path / "mask.npy", rng.random((M, n)) < 0.5)
    np.save(tmp_path / "val_margins.npy", rng.normal(size=(M, N)).astype(np.float32))
    scores = torch.from_numpy(rng.normal(size=(n, N)))

    masks = torch.as_tensor(np.load(tmp_path / "mask.npy")).double()
    margins = torch.as_tensor(np.load(tmp_path / "val_margins.npy"))
    predictions = masks @ scores
    assert smallest_gap(predictions) > 1e-9
    loop = [spearmanr(predictions[:, j], margins[:, j]) for j in range(N)]
    rhos, p_values = np.array([r.statistic for r in loop]), np.array([r.pvalue for r in loop])

    result = lds(scores, np.load(tmp_path / "mask.npy", mmap_mode="r"), np.load(tmp_path / "val_margins.npy"))
    np.testing.assert_allclose(result.per_target, rhos, rtol=0, atol=1e-12)
    assert f"Correlation: {result.lds:.3f} (avg p value {result.mean_p:.6f})" == (
        f"Correlation: {rhos.mean():.3f} (avg p value {p_values.mean():.6f})"
    )
