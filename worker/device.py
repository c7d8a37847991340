"""What the arithmetic runs on: one thread, or a GPU, and the names of everything that can change a bit."""

from __future__ import annotations

import multiprocessing
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

THREADS = 1
"""Two threads in one process can be far slower on a busy machine, and change bits: processes run side by side instead."""


CPU, GPU = "cpu", "cuda"
KINDS = (CPU, GPU)
AUTO = "auto"


PINS = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA")
"""What, in the environment, pins the arithmetic: it has to be the same wherever shards of one benchmark are trained."""


def best() -> str:
    """Return the kind of device that trains fastest here: the GPU where there is one."""
    return GPU if torch.cuda.is_available() else CPU


def same(arithmetic: Mapping[str, Any]) -> str:
    """Return the kind of device that an arithmetic was of, or the CPU where there is none of that kind."""
    return best() if "gpu" in arithmetic else CPU


def count(kind: str) -> int:
    """Return how many training processes keep all devices of a kind busy: one for each GPU, or for each core."""
    if kind == GPU:
        return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def place(kind: str) -> torch.device:
    """Return the device that this process trains on: of several GPUs, the one of its number (see `worker.processes.run`)."""
    if kind == CPU:
        return torch.device(CPU)
    # What is not asked for in bfloat16 is computed in full float32, and the same way every time.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    number = multiprocessing.current_process().name
    return torch.device(kind, int(number) % torch.cuda.device_count() if number.isdecimal() else 0)


def wait(where: torch.device) -> None:
    """Wait until a device has done what it was asked to; a CPU has."""
    if where.type == GPU:
        torch.cuda.synchronize(where)


def release() -> None:
    """Give back the memory of a GPU that torch keeps for later, to the processes that train."""
    torch.cuda.empty_cache()


def use_one_thread() -> None:
    """Keep this process, and every one that it starts, to one thread each."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(THREADS)
    torch.set_num_threads(THREADS)


def arithmetic(kind: str, *, convolves: bool) -> dict[str, str | int]:
    """Return what decides the bits of a sum: torch's build, the instruction sets of it and its libraries, and threads.

    ``ATEN_CPU_CAPABILITY`` chooses the first, ``MKL_CBWR`` MKL's, ``ONEDNN_MAX_CPU_ISA`` that of oneDNN, which computes
    convolutions and nothing else here. MKL and oneDNN do not tell what they chose by themselves, so without these the kind of
    processor stands for it. A GPU is named with its libraries.
    """
    found: dict[str, str | int] = {
        "torch": torch.__version__,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": THREADS,
        "mkl_cbwr": os.environ.get("MKL_CBWR") or f"unset, on {_kind()}",
    }
    if kind == GPU:
        libraries = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
        found["gpu"] = f"{torch.cuda.get_device_name()}, {libraries}"
    elif convolves:
        found["onednn_max_cpu_isa"] = os.environ.get("ONEDNN_MAX_CPU_ISA") or f"unset, on {_kind()}"
    return found


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that the numbers pass through."""
    packages = ("numpy", "scikit-learn", "torch")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def name() -> str:
    """Return the processor's name."""
    return _information().get("model name") or platform.processor() or platform.machine()


def _kind() -> str:
    """Return the processor's maker and widest instruction set: what MKL and oneDNN choose their code by."""
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
