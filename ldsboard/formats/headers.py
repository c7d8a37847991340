"""The parsed header of a score file, and the errors that the parsers of all formats raise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldsboard.problems import ProblemError

ScoreArray = NDArray[np.float16] | NDArray[np.float32] | NDArray[np.float64]

HEADER_LIMIT = 64 * 1024
"""Largest number of bytes of a header, counted from the start of the file."""

MAX_DIMENSIONS, MAX_SIDE = 64, 2**63
"""Limits of a numpy array: the number of dimensions is at most MAX_DIMENSIONS, and each side of the shape is below MAX_SIDE."""

FORMATS = "a .npy, .safetensors or .npz file with one array"
SAVE_HINT = "Save the scores with numpy.save('scores.npy', numpy.asarray(scores, 'float64'))."
KEEP_NUMBERS = (
    "Open the file in the program that wrote it, and save only the numbers: "
    "numpy.save('scores.npy', numpy.asarray(scores, 'float64'))."
)


@dataclass(frozen=True)
class Header:
    """The layout of a score file: the scores fill the bytes from `offset` to the end of the file.

    Attributes
    ----------
    dtype
        Type of each score.
    fortran_order
        Whether the scores are stored in column-major order.
    shape
        Shape of the array of scores.
    offset
        Position of the first byte of the scores.
    """

    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]
    offset: int

    @property
    def data_size(self) -> int:
        """Number of bytes of the scores."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def file_size(self) -> int:
        """Number of bytes of the header and the scores together; in an archive, the size of the inflated member."""
        return self.offset + self.data_size

    @property
    def largest_file_size(self) -> int:
        """Largest number of bytes that a score file with this header can have: `file_size`, unless the file is an archive."""
        return self.file_size

    def check_size(self, size: int) -> None:
        """Raise ``scores.truncated`` unless the header describes a file of `size` bytes."""
        if self.file_size != size:
            raise self.truncated(f"{self.file_size} bytes", f"{size} bytes")

    def truncated(self, expected: str, got: str) -> ProblemError:
        """Return the error for a file whose size contradicts this header."""
        return ProblemError.mismatch(
            "scores.truncated",
            expected=f"{expected} for {self.dtype} {self.shape}",
            got=got,
            hint="Save the scores again. If the file is a copy, copy the file again.",
        )


def unreadable(got: str, hint: str = SAVE_HINT) -> ProblemError:
    """Return the error for a file in no supported format, or with a malformed header."""
    return ProblemError.mismatch("scores.unreadable", expected=FORMATS, got=got, hint=hint)


def empty(got: str) -> ProblemError:
    """Return the error for an empty file."""
    return ProblemError.mismatch("scores.empty", expected=FORMATS, got=got, hint=SAVE_HINT)


def pickled(got: str) -> ProblemError:
    """Return the error for a pickle, which could run arbitrary code when it is loaded."""
    return ProblemError.mismatch(
        "scores.object",
        expected=FORMATS,
        got=got,
        hint=f"The command line reads tensors of torch.save files on your own machine. {KEEP_NUMBERS}",
    )


def unsupported_type(got: str) -> ProblemError:
    """Return the error for scores that are not float16, float32 or float64."""
    hint = "Give real numbers: the command line reads integers and bfloat16; save other types as float64."
    return ProblemError.mismatch("scores.dtype", expected="float16, float32 or float64", got=got, hint=hint)


def several(names: list[str], hint: str) -> ProblemError:
    """Return the error for a file that does not hold exactly one array."""
    shown = ", ".join(repr(name[:40]) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004
    return ProblemError.mismatch(
        "scores.several", expected=FORMATS, got=f"{len(names)} arrays: {shown}{more}", hint=hint
    )


def is_shape(sides: object) -> bool:
    """Return whether `sides` is a list or tuple that numpy accepts as a shape."""
    fits = isinstance(sides, list | tuple) and len(sides) <= MAX_DIMENSIONS
    return fits and all(type(side) is int and 0 <= side < MAX_SIDE for side in sides)  # type: ignore[attr-defined]  # a list


def check_dimensions(shape: tuple[int, ...]) -> None:
    """Raise ``scores.empty`` if any side of `shape` is 0; otherwise raise ``scores.shape`` unless `shape` has two sides."""
    if len(shape) == 2 and all(shape):  # noqa: PLR2004
        return
    is_empty = 0 in shape
    raise ProblemError.mismatch(
        "scores.empty" if is_empty else "scores.shape",
        expected="at least one training example (row) and one target (column)"
        if is_empty
        else "two dimensions (n training examples, N targets)",
        got=f"shape {shape}",
        hint="Give one row per training example and one column per target.",
    )
