"""Convert the file that a user names to a score file, if that is needed: a tensor, one array of several, a transposed array.

The converted file is temporary. The same options always give the same bytes, so that an interrupted upload can be resumed.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.arrays.scores import read_scores
from ldsboard.commands.exits import USAGE, fail
from ldsboard.formats import torch_files
from ldsboard.formats.named_arrays import read_named
from ldsboard.formats.score_files import open_scores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ldsboard.formats.headers import ScoreArray

TRAIN_TARGET, TARGET_TRAIN = "train,target", "target,train"
"""What the rows and the columns of a file are."""


def check_axes(axes: str) -> str:
    """Return `TRAIN_TARGET` or `TARGET_TRAIN` for a value of ``--axes``; exit with a usage error for any other value."""
    order = "".join(axes.split()).lower()
    if order not in (TRAIN_TARGET, TARGET_TRAIN):
        fail(USAGE, f"--axes: expected {TRAIN_TARGET} or {TARGET_TRAIN}, got {axes!r}")
    return order


def read_file(path: Path, axes: str = TRAIN_TARGET, key: str | None = None) -> ScoreArray:
    """Return the scores in a file, float16, float32 or float64, (n training examples, N targets).

    Parameters
    ----------
    path
        A score file or a ``torch.save`` file.
    axes
        What the rows and the columns of the file are: `TRAIN_TARGET` or `TARGET_TRAIN`.
    key
        Name of the array to read, if the file holds several arrays.

    Raises
    ------
    ProblemError
        The file does not hold such scores.
    OSError
        The file cannot be read.
    """
    if path.suffix in torch_files.SUFFIXES:
        scores = read_scores(torch_files.read_tensor(path, key))
    elif key is not None:
        scores = read_scores(read_named(path, key))
    else:
        scores = open_scores(path)
    return scores.T if axes == TARGET_TRAIN else scores


@contextmanager
def score_file(path: Path, axes: str = TRAIN_TARGET, key: str | None = None) -> Iterator[Path]:
    """Yield the path of a file that the server accepts: `path`, or a temporary ``.npy`` file with the scores of `read_file`."""
    if axes == TRAIN_TARGET and key is None and path.suffix not in torch_files.SUFFIXES:
        yield path
        return
    scores_nN = read_file(path, axes, key)
    with TemporaryDirectory(prefix="ldsboard-", ignore_cleanup_errors=True) as folder:
        converted = Path(folder) / f"{path.name}.npy"
        np.save(converted, scores_nN)
        yield converted
