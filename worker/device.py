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
    """Return what decides the bits of a sum: torch's build, the instruction set, threads, and what pins them."""
    return {
        "torch": torch.__version__,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": THREADS,
        "mkl_cbwr": os.environ.get("MKL_CBWR", ""),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that the numbers pass through."""
    packages = ("numpy", "scikit-learn", "torch")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def name() -> str:
    """Return the processor's name."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
