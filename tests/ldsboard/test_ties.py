"""Floating-point sums change rho when scores take few values; the library's exact sums do not.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import rankdata

from ldsboard import lds

if TYPE_CHECKING:
    from numpy.typing import NDArray

M, n, N = 100, 100, 100


def sum_in_order(masks_Mn: NDArray[np.bool_], scores_nN: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return predictions (M, N): the sums over examples, added from first to last in the dtype of the scores."""
    predictions_MN = np.zeros((len(masks_Mn), scores_nN.shape[1]), dtype=scores_nN.dtype)
    for mask_M, scores_N in zip(masks_Mn.T, scores_nN, strict=True):
        predictions_MN += mask_M[:, None] * scores_N
    return predictions_MN


def rho(predictions_MN: NDArray[Any], margins_MN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Spearman's rho of each target, (N,), as the correlation of SciPy's ranks."""
    f_MN, g_MN = (rankdata(values, axis=0) - (M + 1) / 2 for values in (predictions_MN, margins_MN))
    return np.asarray((f_MN * g_MN).sum(axis=0) / np.sqrt((f_MN**2).sum(axis=0) * (g_MN**2).sum(axis=0)))


@pytest.mark.parametrize(("kind", "largest"), [(np.float32, 0.0215), (np.float64, 0.0184)])
def test_lds_of_few_valued_scores_is_exact_where_float_sums_depend_on_order(
    kind: type[np.floating], largest: float
) -> None:
    rng = np.random.default_rng(1)
    masks_Mn = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
    whole_nN = rng.integers(-1, 2, size=(n, N))
    margins_MN = masks_Mn @ whole_nN + rng.normal(size=(M, N)) * np.sqrt(n) / 3
    tenths_nN = (whole_nN * kind(0.1)).astype(kind)
    exact_N = rho(masks_Mn @ whole_nN, margins_MN)
    assert np.abs(lds(tenths_nN, masks_Mn, margins_MN).per_target - exact_N).max() < 1e-12
    forwards_N = rho(sum_in_order(masks_Mn, tenths_nN), margins_MN)
    backwards_N = rho(sum_in_order(masks_Mn[:, ::-1], tenths_nN[::-1]), margins_MN)
    assert np.abs(forwards_N - exact_N).max() > 0.01
    assert np.abs(forwards_N - backwards_N).max() == pytest.approx(largest, abs=5e-5)  # the figure stated in the guide
