"""The routes that this machine has, so that every test of a route runs on all of them, with and without a compiled kernel."""

from __future__ import annotations

from ldsboard.core.kernel import LIBRARY, load

KERNEL = load(LIBRARY)[0]
VARIANTS: tuple[str, ...] = (
    () if KERNEL is None else ("portable", "avx2") if KERNEL.ldsboard_has_avx2() else ("portable",)
)
"""The variants of the kernel."""

HERE = ("blas", *VARIANTS)
