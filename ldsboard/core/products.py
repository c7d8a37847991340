"""The matrix product of scoring, by numpy or by torch; both give the same bits, because they sum grid integers exactly.

Legend: M subsets, n training examples, b targets of one block.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor


def product_with(
    masks_Mn: NDArray[np.bool_], device: str | None
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the product with the subsets, bool (M, n), computed by numpy or on a torch device.

    Returns
    -------
    callable
        Sums grid integers, float64 (n, b), over the examples of each subset: predictions, float64 (b, M).
    """
    if device is None:
        return partial(_numpy_product, np.asfortranarray(masks_Mn.T, dtype=np.float64))
    try:
        import torch  # noqa: PLC0415 -- optional: needed for a device only

        weights_Mn = torch.from_numpy(masks_Mn).to(device).to(torch.float64)
    except (ImportError, RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device: expected a torch device with float64, got {device!r} ({error}). Omit it to use numpy."
        ) from error
    return partial(_torch_product, weights_Mn)


def _numpy_product(weights_nM: NDArray[np.float64], grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
    return grid_nb.T @ weights_nM


def _torch_product(weights_Mn: Tensor, grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
    predictions_bM: NDArray[np.float64] = (weights_Mn.new_tensor(grid_nb).T @ weights_Mn.T).cpu().numpy()
    return predictions_bM
