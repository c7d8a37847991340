"""Memory that runs out while models train together: how that is told from other errors, and with how many it may do."""

from __future__ import annotations

SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
"""What torch, CUDA, cuBLAS and cuDNN say; most of them raise a plain RuntimeError."""


class OutOfMemory(RuntimeError):  # noqa: N818  # as Python's and torch's own are called
    """Models that train together need more memory than there is.

    Attributes
    ----------
    group
        How many trained together (K).
    fits
        The number to try next; None when one alone is too much.
    """

    def __init__(self, group: int, reason: str) -> None:
        self.group = group
        self.fits = smaller(group)
        together = "One model alone needs" if self.fits is None else f"{group} models at once (K) need"
        super().__init__(f"{together} more memory than there is: {reason}.")


def is_exhausted(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )


def smaller(group: int) -> int | None:
    """Return the largest divisor of K that is at most half of it, so that shards of whole groups stay so; None for 1."""
    return next((fewer for fewer in range(group // 2, 0, -1) if group % fewer == 0), None)
