"""The matrix product of scoring, by numpy or by torch; both give the same bits, because they sum grid integers exactly.

Legend: M subsets, n training examples, b targets of one block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Product(Protocol):
    """A function that sums grid integers, float64 (n, b), over the examples of each subset: predictions, float64 (b, M)."""

    def __call__(self, grid_nb: NDArray[np.float64]) -> NDArray[np.float64]: ...  # noqa: D102


def product_with(masks_Mn: NDArray[np.bool_], device: str | None) -> Product:
    """Return the product with the subsets, bool (M, n), computed by numpy or on a torch device."""
    return NumpyProduct(masks_Mn) if device is None else TorchProduct(masks_Mn, device)


class NumpyProduct:
    """The product, computed by numpy's BLAS."""

    def __init__(self, masks_Mn: NDArray[np.bool_]) -> None:
        self._weights_nM = np.asfortranarray(masks_Mn.T, dtype=np.float64)

    def __call__(self, grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the predictions, float64 (b, M)."""
        return grid_nb.T @ self._weights_nM


class TorchProduct:
    """The product, computed by torch on a device with float64; the subsets stay on the device."""

    def __init__(self, masks_Mn: NDArray[np.bool_], device: str) -> None:
        try:
            import torch  # noqa: PLC0415 -- optional: needed for a device only

            self._to_tensor = torch.from_numpy
            self._weights_Mn = torch.from_numpy(masks_Mn).to(device).to(torch.float64)
        except (ImportError, RuntimeError, AssertionError, TypeError) as error:
            raise ValueError(
                f"device: expected a torch device with float64, got {device!r} ({error}). Omit it to use numpy."
            ) from error

    def __call__(self, grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the predictions, float64 (b, M)."""
        grid = self._to_tensor(grid_nb).to(self._weights_Mn.device)
        predictions_bM: NDArray[np.float64] = (grid.T @ self._weights_Mn.T).cpu().numpy()
        return predictions_bM
