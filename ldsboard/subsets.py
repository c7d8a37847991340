"""Random subsets of the training examples, and the counter-based seeds that everything random is drawn from.

A seed is ``[root, subset, run, stream]``: it depends on nothing but what it is for, so a subset, an initialisation or an
order of examples is the same whatever the shard, the process or the number of models that train together.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUBSET, INITIALISATION, ORDER, AUGMENTATION = range(4)
"""The streams of a seed. The subset stream is only ever drawn with run 0: all runs share the subset."""


def generator(root: int, subset: int, run: int, stream: int) -> np.random.Generator:
    """Return the random generator of one stream of one run of one subset."""
    return np.random.default_rng([root, subset, run, stream])


def subset_size(alpha: float, n: int) -> int:
    """Return how many of n examples every subset holds: ``round(alpha * n)``."""
    return round(alpha * n)


def draw_masks(root: int, count: int, n: int, alpha: float) -> NDArray[np.bool_]:
    """Draw subsets without replacement.

    Parameters
    ----------
    root
        Root seed, a non-negative integer of any size.
    count, n
        Number of subsets M and of training examples n.
    alpha
        Fraction of the examples in each subset.

    Returns
    -------
    numpy.ndarray
        ``masks_Mn``, bool (count, n), True where the example is in the training subset.
    """
    size = subset_size(alpha, n)
    masks_Mn = np.zeros((count, n), dtype=np.bool_)
    for subset in range(count):
        masks_Mn[subset, generator(root, subset, 0, SUBSET).choice(n, size, replace=False)] = True
    return masks_Mn


def commitment(seed: int, nonce: bytes) -> str:
    """Return the published commitment to a hidden seed: ``sha256(16-byte big-endian seed + 16-byte nonce)``, in hex."""
    if len(nonce) != 16:  # noqa: PLR2004
        raise ValueError(f"expected a nonce of 16 bytes, got {len(nonce)}")
    return hashlib.sha256(seed.to_bytes(16, "big") + nonce).hexdigest()
