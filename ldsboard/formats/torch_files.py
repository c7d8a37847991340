"""Convert ``torch.save`` files to score files on the user's own machine.

The server never opens ``torch.save`` files, because such files can hold code.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.formats.headers import pickled
from ldsboard.formats.named_arrays import no_such_array
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = (".pt", ".pth")


def as_score_file(path: Path) -> Path:
    """Convert a ``.pt`` or ``.pth`` file to a ``.npy`` file; return other paths unchanged.

    Parameters
    ----------
    path
        Path of a score file, or of a ``torch.save`` file that holds one tensor.

    Returns
    -------
    pathlib.Path
        `path` unchanged, or the path of the ``.npy`` file, which is written to the same folder.

    Raises
    ------
    ProblemError
        The errors of `read_tensor`.
    """
    if path.suffix not in SUFFIXES:
        return path
    target = path.with_name(f"{path.name}.npy")
    np.save(target, read_tensor(path))
    return target


def read_tensor(path: Path, key: str | None = None) -> NDArray[Any]:
    """Return a tensor of a ``torch.save`` file as an array of float16, float32 or float64.

    torch loads the file with ``weights_only``, which refuses everything but tensors and plain containers. Integers are converted
    to float64, and other floating-point types to float32, which represents bfloat16 exactly.

    Parameters
    ----------
    path
        Path of the file. Without `key`, the file holds one tensor; with `key`, a dictionary with tensors.
    key
        Name of the tensor in the dictionary.

    Raises
    ------
    ProblemError
        ``scores.object``: torch is not installed or cannot load the file; or without `key`, the file is not one tensor.
        ``scores.several``: `key` is given, and the file has no tensor of this name.
        ``scores.dtype``: the tensor is complex, sparse or quantized.
    """
    try:
        import torch  # noqa: PLC0415 -- optional: needed for torch.save files only
    except ImportError:
        raise pickled("a torch.save file, and torch is not installed") from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise pickled(f"a file that torch cannot read as tensors ({str(error).partition('.')[0][:100]})") from error
    if key is not None:
        tensors = found if isinstance(found, dict) else {}
        names = [name for name, value in tensors.items() if isinstance(name, str) and isinstance(value, torch.Tensor)]
        if key not in names:
            raise no_such_array(key, names)
        found = tensors[key]
    if not isinstance(found, torch.Tensor):
        raise pickled(f"a torch.save file with an object of type {type(found).__name__}")
    tensor = found.detach()
    # Call to_dense first, because torch cannot take the real part of a complex tensor in a layout such as CSR.
    conversion = ".to_dense()" * (tensor.layout != torch.strided) + ".real" * tensor.is_complex()
    if conversion or tensor.is_quantized:
        got = f"{tensor.dtype} in the layout {tensor.layout}"
        hint = f"Save the tensor with torch.save(scores{conversion or '.dequantize()'}, 'scores.pt')."
        raise ProblemError.mismatch("scores.dtype", expected="a dense tensor of real numbers", got=got, hint=hint)
    if not tensor.is_floating_point():
        tensor = tensor.double()
    elif tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()
    array: NDArray[Any] = tensor.numpy()
    return array
