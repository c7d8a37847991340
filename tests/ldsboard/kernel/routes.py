"""The routes that this machine has, so that every test of a route runs on all of them, with and without a compiled kernel."""

from __future__ import annotations

import os

from ldsboard.core import kernel
from ldsboard.core.kernel import LIBRARY, load

if (folder := os.environ.get("SANITIZED")) and not LIBRARY.is_relative_to(folder):  # `make sanitize`
    raise RuntimeError(f"{LIBRARY} is not the kernel in {folder}")
KERNEL, PROBLEM = load(LIBRARY)
if KERNEL is None and LIBRARY.exists():  # otherwise the tests of the kernel would pass without running it
    raise RuntimeError(PROBLEM)
VARIANTS: tuple[str, ...] = () if KERNEL is None else kernel.VARIANTS[: KERNEL.ldsboard_last_variant() + 1]
"""The variants of the kernel that this machine has."""

HERE = ("blas", *VARIANTS)
