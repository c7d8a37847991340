"""Compute predictions with the compiled kernel, with BLAS or with torch. All give the same bits: sums of grid integers are exact.

Legend: M subsets, n training examples, b targets of one block.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.arrays.masks import pack_masks
from ldsboard.core import kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

MIN_KERNEL_SUBSETS = 64
"""Number of subsets below which BLAS is faster than the compiled kernel, which spends its time on making tables."""


def product_with(
    masks_Mn: NDArray[np.bool_], device: str | None
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the function that computes predictions.

    Parameters
    ----------
    masks_Mn
        The subsets, bool (M, n).
    device
        The torch device that computes the product; None to compute with the route of `ldsboard.core.kernel.choose_route`.

    Returns
    -------
    callable
        Takes grid integers, float64 (n, b), and returns the sums of the grid integers over the examples of each subset, float64
        (b, M).

    Raises
    ------
    ValueError
        torch is missing, or the device is unknown or lacks float64; or the route cannot be chosen.
    """
    if device is None:
        route = kernel.choose_route()
        if route.name != "blas" and (route.forced or len(masks_Mn) >= MIN_KERNEL_SUBSETS):
            return partial(kernel.sums, kernel.mask_words(pack_masks(masks_Mn)), avx2=route.name == "avx2")
        return partial(_numpy_product, np.asfortranarray(masks_Mn.T, dtype=np.float64))
    try:
        import torch  # noqa: PLC0415 -- optional: needed for a torch device only

        weights_Mn = torch.from_numpy(masks_Mn).to(device).to(torch.float64)
    except (ImportError, RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device: expected a torch device with float64, got {device!r} ({error}). Omit 'device' to use numpy."
        ) from error
    return partial(_torch_product, weights_Mn)


def _numpy_product(weights_nM: NDArray[np.float64], grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
    return grid_nb.T @ weights_nM


def _torch_product(weights_Mn: Tensor, grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
    predictions_bM: NDArray[np.float64] = (weights_Mn.new_tensor(grid_nb).T @ weights_Mn.T).cpu().numpy()
    return predictions_bM
