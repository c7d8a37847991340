"""Random ground truth, and functions that save it as the input files of an import.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.importing.origins import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

M, n, N = 30, 21, 4
rng = np.random.default_rng(5)
MASKS = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
RAGGED = rng.random((M, n)) < 0.5
MARGINS = rng.normal(size=(M, N)).astype(np.float32)
RUNS_MN = rng.normal(size=(M, 3, N)).astype(np.float32)


def save_origin(folder: Path, masks: Any, margins: Any = MARGINS, **options: Any) -> Origin:
    """Save both arrays in a new subfolder, since Windows cannot replace a file that is still mapped."""
    folder = folder / f"{len(list(folder.iterdir()))}"
    folder.mkdir()
    np.save(folder / "mask.npy", masks)
    np.save(folder / "val_margins.npy", margins)
    return Origin(folder / "mask.npy", folder / "val_margins.npy", **options)


def index_lists(masks_Mn: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    return [np.flatnonzero(mask_n) for mask_n in masks_Mn]


def save_labels(folder: Path, part: str, labels: Any) -> dict[str, Any]:
    np.save(folder / f"{part}.npy", labels)
    return {f"{part}_labels": folder / f"{part}.npy"}
