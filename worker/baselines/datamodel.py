"""Linear datamodels: regression of margins on masks.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from worker.baselines.material import Material

RIDGE = 30.0


def datamodel(material: Material, strength: float = RIDGE) -> NDArray[np.float32]:
    """Return the coefficients of a ridge regression for each target, float32 (n, N).

    The regression predicts the target's margin from the mask. Margins are averaged over the runs of a subset before the fit.
    Ilyas et al. 2022, "Datamodels: Predicting Predictions from Training Data", use the lasso, which penalises absolute
    coefficients. With the squared penalty here, one linear system of size M gives the coefficients of all targets. The fit is
    cheap; the cost of the method is that of the M R models whose margins the benchmark has.
    """
    return ridge(material.masks_Mn, material.margins_MRN.mean(axis=1, dtype=np.float64), strength)


def ridge(masks_Mn: NDArray[np.bool_], margins_MN: NDArray[np.float64], strength: float) -> NDArray[np.float32]:
    """Return the coefficients that minimise squared error + strength x squared coefficients, float32 (n, N).

    The coefficients are ``X' (X X' + strength I)^-1 Y``. X holds the masks and Y the margins. Their means over subsets are
    subtracted, because the regression has an intercept. The normal equations have the same solution, but they are a system of
    size n, and M is usually smaller than n.
    """
    X_Mn = masks_Mn - masks_Mn.mean(axis=0)
    Y_MN = margins_MN - margins_MN.mean(axis=0)
    dual_MN = np.linalg.solve(X_Mn @ X_Mn.T + strength * np.eye(len(X_Mn)), Y_MN)
    coefficients_nN: NDArray[np.float32] = (X_Mn.T @ dual_MN).astype(np.float32)
    return coefficients_nN
