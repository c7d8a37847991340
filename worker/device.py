"""What the arithmetic runs on: one thread, and the names of everything that can change a bit."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

THREADS = 1
"""Two threads in one process can be far slower on a busy machine, and change bits: processes run side by side instead."""


def use_one_thread() -> None:
    """Keep this process, and every one that it starts, to one thread each."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(THREADS)
    torch.set_num_threads(THREADS)


def arithmetic() -> dict[str, str | int]:
    """Return what decides the bits of a sum: torch's build, the instruction sets of its own code and of MKL, and threads.

    ``ATEN_CPU_CAPABILITY`` chooses the first, ``MKL_CBWR`` the second. MKL does not tell what it chose by itself, so without
    that the kind of processor stands for it.
    """
    return {
        "torch": torch.__version__,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": THREADS,
        "mkl_cbwr": os.environ.get("MKL_CBWR") or f"unset, on {_kind()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that the numbers pass through."""
    packages = ("numpy", "scikit-learn", "torch")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def name() -> str:
    """Return the processor's name."""
    return _information().get("model name") or platform.processor() or platform.machine()


def _kind() -> str:
    """Return the processor's maker and widest instruction set: what MKL chooses its code by."""
    information = _information()
    flags = information.get("flags", "").split()
    widest = next((flag for flag in ("avx512f", "avx2", "avx") if flag in flags), platform.machine())
    return f"{information.get('vendor_id', platform.system())} {widest}"


def _information() -> dict[str, str]:
    """Return what Linux tells of the first processor; nothing elsewhere."""
    file = Path("/proc/cpuinfo")
    first = file.read_text().partition("\n\n")[0] if file.exists() else ""
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
