"""A small random benchmark: description, public and hidden arrays.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ldsboard.arrays.packed import PackedMasks
from ldsboard.hidden_file import HiddenPart
from ldsboard.subsets import draw_masks

PUBLIC_SEED, HIDDEN_SEED, NONCE = 7, 2**127 + 12345, bytes(range(16))
M_PUBLIC, M_HIDDEN, R, n, N = 12, 64, 2, 20, 3
DESCRIPTION: dict[str, Any] = {
    "name": "toy",
    "version": 1,
    "title": "Toy",
    "description": "Nothing was trained.",
    "licence": "CC0-1.0",
    "dataset": {"name": "none"},
    "recipe": {"name": "linear", "epochs": 3},
    "alpha": 0.5,
    "output_function": "margin",
    "public_seed": PUBLIC_SEED,
    "split": "protected",
    "ranking": None,
    "provenance": {"device": "cpu"},
}
OPEN = DESCRIPTION | {"split": "open", "ranking": (4, M_PUBLIC)}

rng = np.random.default_rng(1)
LABELS = {"train": rng.integers(10, size=n), "target": rng.integers(10, size=N)}
IMAGES = {"train": rng.integers(256, size=(n, 2, 2), dtype=np.uint8), "target": np.zeros((N, 2, 2), dtype=np.uint8)}
MASKS = draw_masks(PUBLIC_SEED, M_PUBLIC, n, 0.5)
MARGINS = (rng.normal(size=(M_PUBLIC, R, N)) + rng.normal(size=(M_PUBLIC, 1, N))).astype(np.float32)
HIDDEN = HiddenPart(
    HIDDEN_SEED,
    NONCE,
    PackedMasks.of(draw_masks(HIDDEN_SEED, M_HIDDEN, n, 0.5)),
    (rng.normal(size=(M_HIDDEN, R, N)) + rng.normal(size=(M_HIDDEN, 1, N))).astype(np.float32),
)
