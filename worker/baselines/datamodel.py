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
    """Score by ridge regression of each target's mean margin on the public masks; float32 (n, N).

    Ilyas et al. 2022, "Datamodels: Predicting Predictions from Training Data", but with a squared penalty instead of an
    absolute one, which has a closed form for all targets. It solves one system of size M; the main cost is training the models.
    """
    return ridge(material.masks_Mn, material.margins_MRN.mean(axis=1, dtype=np.float64), strength)


def ridge(masks_Mn: NDArray[np.bool_], margins_MN: NDArray[np.float64], strength: float) -> NDArray[np.float32]:
    """Return the coefficients (n, N) that minimise squared error + strength x squared coefficients, with an intercept.

    The coefficients are ``X' (X X' + strength I)^-1 Y`` with X and Y centred. This equals the solution of the normal equations
    but needs a system of size M instead of n, and M is smaller.
    """
    X_Mn = masks_Mn - masks_Mn.mean(axis=0)
    Y_MN = margins_MN - margins_MN.mean(axis=0)
    dual_MN = np.linalg.solve(X_Mn @ X_Mn.T + strength * np.eye(len(X_Mn)), Y_MN)
    coefficients_nN: NDArray[np.float32] = (X_Mn.T @ dual_MN).astype(np.float32)
    return coefficients_nN
