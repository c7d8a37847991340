"""Read the file or folder that a user names, and convert it to a score file if the server does not accept it as it is.

The converted file is temporary. The same options always give the same bytes, so that an interrupted upload can be resumed.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.arrays.scores import TURNED, check_shape, is_turned, read_scores
from ldsboard.commands.exits import USAGE, errors, fail
from ldsboard.formats.saved_scores import read_saved
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ldsboard.formats.headers import ScoreArray

TRAIN_TARGET, TARGET_TRAIN = "train,target", "target,train"
"""The two values of ``--axes``: what the rows of a file are, and what its columns are."""


def check_axes(axes: str) -> str:
    """Return `TRAIN_TARGET` or `TARGET_TRAIN` for a value of ``--axes``; exit with a usage error for any other value."""
    order = "".join(axes.split()).lower()
    if order not in (TRAIN_TARGET, TARGET_TRAIN):
        fail(USAGE, f"--axes: expected {TRAIN_TARGET} or {TARGET_TRAIN}, got {axes!r}")
    return order


def print_note(note: str) -> None:
    """Print a sentence about the reading of a file on standard error."""
    errors.print(f"Note: {note}", markup=False)


def read_file(path: Path, n: int, N: int, axes: str = TRAIN_TARGET, key: str | None = None) -> ScoreArray:
    """Return the scores in a file, float16, float32 or float64, (n training examples, N targets); print what was changed.

    If only the transpose of the file has this shape, the file is transposed.

    Parameters
    ----------
    path
        A file or folder that `read_saved` reads.
    n, N
        Number of training examples and of targets of the benchmark.
    axes
        What the rows and the columns of the file are: `TRAIN_TARGET` or `TARGET_TRAIN`.
    key
        Name of the array to read, if the file holds several arrays.

    Raises
    ------
    ProblemError
        The file does not hold scores of this shape, or does not need `axes` to have this shape.
    OSError
        The file cannot be read.
    """
    saved = read_saved(path, key)
    scores = read_scores(saved.array)
    for note in saved.notes:
        print_note(note)
    if axes == TARGET_TRAIN:
        if is_turned(scores.T.shape, n, N):
            raise ProblemError.mismatch(
                "scores.transposed",
                expected=f"shape ({N}, {n}) for --axes {TARGET_TRAIN}",
                got=f"shape {scores.shape}, which fits without --axes",
                hint=f"Leave out --axes {TARGET_TRAIN}.",
            )
        scores = scores.T
    elif is_turned(scores.shape, n, N):
        print_note(TURNED)
        scores = scores.T
    check_shape(scores.shape, n, N)
    return scores


@contextmanager
def score_file(
    path: Path, axes: str = TRAIN_TARGET, key: str | None = None, note: Callable[[str], None] = print_note
) -> Iterator[Path]:
    """Yield the path of a file in a format that the server accepts: `path`, or a temporary ``.npy`` file with the same scores.

    The shape is not checked. The server transposes a file of which only the transpose fits. Therefore only `TARGET_TRAIN`
    transposes here.

    Parameters
    ----------
    path
        A file or folder that `read_saved` reads.
    axes
        What the rows and the columns of the file are: `TRAIN_TARGET` or `TARGET_TRAIN`.
    key
        Name of the array to read, if the file holds several arrays.
    note
        Function that receives sentences about what was changed.

    Raises
    ------
    ProblemError
        The scores cannot be read, or it is unclear which they are.
    OSError
        The file cannot be read, or the temporary file cannot be written.
    """
    saved = read_saved(path, key)
    for sentence in saved.notes:
        note(sentence)
    if axes == TRAIN_TARGET and saved.file is not None:
        yield saved.file
        return
    scores = read_scores(saved.array)
    with TemporaryDirectory(prefix="ldsboard-", ignore_cleanup_errors=True) as folder:
        converted = Path(folder) / f"{path.name}.npy"
        np.save(converted, scores.T if axes == TARGET_TRAIN else scores)
        yield converted
