"""Convert torch tensors to arrays with the same numbers. This module does not import torch; it uses torch if it is loaded."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_tensor(value: object) -> bool:
    """Return whether `value` is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_real_valued(tensor: Any) -> bool:
    """Return whether a tensor is floating point, quantized or complex; of these, `tensor_array` refuses complex tensors."""
    return bool(tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized)


def tensor_array(tensor: Any) -> NDArray[Any]:
    """Return the numbers of a tensor on the CPU as an array.

    float16, float32, float64, integers and bools keep their type. Other floating-point types become float32, which represents
    bfloat16 and the types of 8 bits exactly. Sparse tensors become dense, quantized ones are dequantized, gradients are dropped,
    and pending negations are carried out. The array can share its memory with the tensor.

    Raises
    ------
    ProblemError
        ``scores.dtype``: the tensor is complex, is not on the CPU, or cannot be made dense, for its layout or for lack of memory.
    """
    if tensor.is_complex():
        raise ProblemError.mismatch(
            "scores.dtype",
            expected="real numbers",
            got=f"a complex tensor ({tensor.dtype})",
            hint="Decide what the score is, for instance the real part, and save only that part.",
        )
    torch = sys.modules["torch"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the support for some sparse layouts is called a beta
            plain = tensor.detach()
            plain = plain.dequantize() if plain.is_quantized else plain
            plain = plain if plain.layout == torch.strided else plain.to_dense()
            plain = plain.resolve_neg()
            if plain.is_floating_point() and plain.dtype not in (torch.float16, torch.float32, torch.float64):
                plain = plain.float()
            array: NDArray[Any] = plain.numpy()
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:  # NotImplementedError is a RuntimeError
        raise ProblemError.mismatch(
            "scores.dtype",
            expected="a tensor on the CPU that numpy can read",
            got=f"a tensor of type {tensor.dtype} on {tensor.device} ({str(error)[:100]})",
            hint="Convert the scores to a numpy array. Move a torch tensor with scores.cpu().",
        ) from error
    return array
