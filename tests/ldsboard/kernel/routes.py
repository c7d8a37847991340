"""The routes that this machine has, so that every test of a route runs on all of them, with and without a compiled kernel."""

from __future__ import annotations

from ldsboard.core.kernel import LIBRARY, load

KERNEL, PROBLEM = load(LIBRARY)
if KERNEL is None and LIBRARY.exists():  # otherwise the tests of the kernel would pass without running it
    raise RuntimeError(PROBLEM)
VARIANTS: tuple[str, ...] = (
    () if KERNEL is None else ("portable", "avx2") if KERNEL.ldsboard_has_avx2() else ("portable",)
)
"""The variants of the kernel."""

HERE = ("blas", *VARIANTS)
