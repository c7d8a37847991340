"""Devices: one CPU thread or a GPU, and a description of everything that can change bits of the results."""

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
"""Threads of a training process. More threads can be far slower on a busy machine and change bits; use more processes instead."""


CPU, GPU = "cpu", "cuda"
KINDS = (CPU, GPU)
AUTO = "auto"


PINS = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA")
"""Environment variables that select instruction sets. All shards of a benchmark need the same values."""


def best_kind() -> str:
    """Return the fastest kind of device on this machine: the GPU if torch finds one, else the CPU."""
    return GPU if torch.cuda.is_available() else CPU


def kind_of(arithmetic: Mapping[str, Any]) -> str:
    """Return the GPU if the description `arithmetic` names a GPU and this machine has one; otherwise the CPU."""
    return best_kind() if "gpu" in arithmetic else CPU


def process_count(kind: str) -> int:
    """Return how many training processes to start for all devices of a kind: one for each GPU, or one for each CPU core."""
    if kind == GPU:
        return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def torch_device(kind: str) -> torch.device:
    """Return the device of this process. The name of the process selects one of several GPUs (see `processes.run`).

    For a GPU, cuDNN is also set to compute deterministically and without TF32, in the whole process.
    """
    if kind == CPU:
        return torch.device(CPU)
    # Compute deterministically, and in full float32 instead of TF32 unless a recipe asks for bfloat16.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    number = multiprocessing.current_process().name
    return torch.device(kind, int(number) % torch.cuda.device_count() if number.isdecimal() else 0)


def synchronize(where: torch.device) -> None:
    """Wait until a GPU has finished all its work; do nothing for a CPU."""
    if where.type == GPU:
        torch.cuda.synchronize(where)


def release_gpu_memory() -> None:
    """Free the GPU memory that torch caches, so that training processes can use it."""
    torch.cuda.empty_cache()


def use_one_thread() -> None:
    """Limit this process and its children to one thread each."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(THREADS)
    torch.set_num_threads(THREADS)


def arithmetic(kind: str, *, has_convolutions: bool) -> dict[str, str | int]:
    """Describe everything that decides the bits of a sum: torch's build, instruction sets, threads and GPU.

    ``ATEN_CPU_CAPABILITY`` selects the instruction set of torch, ``MKL_CBWR`` that of MKL, and ``ONEDNN_MAX_CPU_ISA`` that of
    oneDNN, which computes only convolutions here. MKL and oneDNN do not report which instruction set they use, so without these
    variables the description names the kind of processor instead. For a GPU, the description names the GPU and the versions of
    CUDA and cuDNN.
    """
    found: dict[str, str | int] = {
        "torch": torch.__version__,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": THREADS,
        "mkl_cbwr": os.environ.get("MKL_CBWR") or f"unset, on {_processor_kind()}",
    }
    if kind == GPU:
        libraries = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
        found["gpu"] = f"{torch.cuda.get_device_name()}, {libraries}"
    elif has_convolutions:
        found["onednn_max_cpu_isa"] = os.environ.get("ONEDNN_MAX_CPU_ISA") or f"unset, on {_processor_kind()}"
    return found


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that compute the results."""
    packages = ("numpy", "scikit-learn", "torch")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def processor_name() -> str:
    """Return the name of the processor's model. If it is unknown, return the name of the architecture, such as ``x86_64``."""
    return _cpu_information().get("model name") or platform.processor() or platform.machine()


def _processor_kind() -> str:
    """Return the processor's vendor and widest instruction set; MKL and oneDNN choose their code by these two properties."""
    information = _cpu_information()
    flags = information.get("flags", "").split()
    widest = next((flag for flag in ("avx512f", "avx2", "avx") if flag in flags), platform.machine())
    return f"{information.get('vendor_id', platform.system())} {widest}"


def _cpu_information() -> dict[str, str]:
    """Return the entries of /proc/cpuinfo for the first processor; empty on other systems than Linux."""
    file = Path("/proc/cpuinfo")
    first = file.read_text().partition("\n\n")[0] if file.exists() else ""
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
