"""Random subsets of the training examples, and the seeds of all random numbers.

A seed is ``[root, subset, run, stream]``. A subset, an initialisation or an order of examples is therefore the same in every
shard and process, however many models are trained together.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUBSET, INITIALISATION, ORDER, AUGMENTATION = range(4)
"""The streams: what the random numbers of a seed are for. The seed of a subset has run 0, because all runs share the subset."""


def generator(root: int, subset: int, run: int, stream: int) -> np.random.Generator:
    """Return the random generator with the seed ``[root, subset, run, stream]``."""
    return np.random.default_rng([root, subset, run, stream])


def subset_size(alpha: float, n: int) -> int:
    """Return the number of training examples in each subset, ``round(alpha * n)``."""
    return round(alpha * n)


def draw_masks(root: int, count: int, n: int, alpha: float) -> NDArray[np.bool_]:
    """Draw random subsets of equal size, each without replacement.

    Parameters
    ----------
    root
        Root seed, a non-negative integer of any size.
    count, n
        Number of subsets, and number of training examples.
    alpha
        Fraction of the training examples in each subset.

    Returns
    -------
    numpy.ndarray
        The subsets, bool (count, n), True where a training example is in the subset.
    """
    size = subset_size(alpha, n)
    masks_Mn = np.zeros((count, n), dtype=np.bool_)
    for subset in range(count):
        masks_Mn[subset, generator(root, subset, 0, SUBSET).choice(n, size, replace=False)] = True
    return masks_Mn


def commitment(seed: int, nonce: bytes) -> str:
    """Return the commitment to a hidden seed: a hash that is published, and later proves that the seed has not been changed.

    Parameters
    ----------
    seed
        Root seed, below 2**128.
    nonce
        16 random bytes.

    Returns
    -------
    str
        ``sha256(seed as 16 big-endian bytes + nonce)``, in hexadecimal.

    Raises
    ------
    ValueError
        The nonce does not have 16 bytes.
    """
    if len(nonce) != 16:  # noqa: PLR2004
        raise ValueError(f"expected a nonce of 16 bytes, got {len(nonce)}")
    return hashlib.sha256(seed.to_bytes(16, "big") + nonce).hexdigest()
