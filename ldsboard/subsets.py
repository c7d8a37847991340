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

SUBSET, INITIALISATION, ORDER, AUGMENTATION, RESERVE, CONTROL = range(6)
"""The streams: what the random numbers of a seed are for. The seed of a subset has run 0, because all runs share the subset. The
seed of the reserve has the number of a block of five subsets in place of a subset, and run 0. The seed of a random control of the
counterfactual evaluation has the number of removed examples in place of a subset, and that of the control in place of a run."""

RESERVE_BLOCK = 5
"""Size of a block: of this many consecutive hidden subsets, one is in the reserve."""

FEWEST_ANSWERED = 100
"""There is a reserve only if it leaves at least this many hidden subsets for the ranking: from 125 hidden subsets on."""


def generator(root: int, subset: int, run: int, stream: int) -> np.random.Generator:
    """Return the random generator with the seed ``[root, subset, run, stream]``."""
    return np.random.default_rng([root, subset, run, stream])


def subset_size(alpha: float, n: int) -> int:
    """Return the number of training examples in each subset, ``round(alpha * n)``."""
    return round(alpha * n)


def draw_masks(root: int, count: int, n: int, alpha: float, *, first: int = 0) -> NDArray[np.bool_]:
    """Draw random subsets of equal size, each without replacement.

    Parameters
    ----------
    root
        Root seed, a non-negative integer of any size.
    count, n
        Number of subsets, and number of training examples.
    alpha
        Fraction of the training examples in each subset.
    first
        Number of the first subset: each subset depends on the root and its own number only.

    Returns
    -------
    numpy.ndarray
        The subsets, bool (count, n), True where a training example is in the subset.
    """
    size = subset_size(alpha, n)
    masks_Mn = np.zeros((count, n), dtype=np.bool_)
    for subset in range(count):
        masks_Mn[subset, generator(root, first + subset, 0, SUBSET).choice(n, size, replace=False)] = True
    return masks_Mn


def draw_reserve(seed: int, count: int) -> tuple[int, ...]:
    """Draw the reserve: hidden subsets whose results are not shown before the benchmark is retired.

    Of each block of five consecutive subsets, one of the first three is drawn. Incomplete last blocks of one or two subsets are
    left out, so that the reserve has ``round(count / 5)`` subsets. Whether a subset of a complete block is in the reserve does
    not depend on `count`; a benchmark that is gathered again with more subsets therefore keeps its reserve.

    Parameters
    ----------
    seed
        The hidden seed. Nobody who does not know the seed can know the rows.
    count
        Number of hidden subsets.

    Returns
    -------
    tuple of int
        Ascending rows; empty if fewer than `FEWEST_ANSWERED` other rows would be left.
    """
    size = round(count / RESERVE_BLOCK)
    if count - size < FEWEST_ANSWERED:
        return ()
    return tuple(
        RESERVE_BLOCK * block + int(generator(seed, block, 0, RESERVE).integers(RESERVE_BLOCK - 2))
        for block in range(size)
    )


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
    OverflowError
        The seed is negative, or at least 2**128.
    """
    if len(nonce) != 16:  # noqa: PLR2004
        raise ValueError(f"expected a nonce of 16 bytes, got {len(nonce)}")
    return hashlib.sha256(seed.to_bytes(16, "big") + nonce).hexdigest()
