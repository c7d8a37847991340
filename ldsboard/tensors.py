"""Files of ``torch.save``, turned into score files where they were made: a server never opens them, since they can hold code."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.headers import pickled

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".pt", ".pth")


def as_score_file(path: Path) -> Path:
    """Return a path as it is, or for a file of ``torch.save`` that of a ``.npy`` file with its scores, written beside it.

    Only tensors are read (``weights_only``); what else is in the file is refused by torch. Types that numpy lacks, such as
    bfloat16, become float32, which holds them exactly.

    Raises
    ------
    ProblemError
        ``scores.object``: torch is not installed, or the file holds anything but one tensor.
    """
    if path.suffix not in SUFFIXES:
        return path
    try:
        import torch  # noqa: PLC0415 -- only whoever has such a file needs it
    except ImportError:
        raise pickled("a file of torch.save, and no torch here to read it with") from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise pickled(f"a file that torch does not read as tensors ({str(error).partition('.')[0][:100]})") from error
    if not isinstance(found, torch.Tensor):
        raise pickled(f"a {type(found).__name__}")
    tensor = found.detach()
    if tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()
    target = path.with_name(f"{path.name}.npy")
    np.save(target, tensor.numpy())
    return target
