"""Make a score file from what a Python program submits, if that is no score file already."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.arrays.scores import read_scores
from ldsboard.formats.saved_scores import read_saved

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def score_file(scores: Any) -> Iterator[tuple[Path, Path | None]]:
    """Yield the path of a score file with the scores, and the path of the file or folder that it was made from, if any.

    From an array, or from a file that the server does not accept, a temporary score file is made, and deleted at the end of the
    block. Equal scores always give the same bytes, so that a repeated call can continue an unfinished upload.
    """
    source = None
    if isinstance(scores, str | os.PathLike):
        source = Path(scores)
        saved = read_saved(source)
        if saved.file is not None:
            yield saved.file, None if saved.file == source else source
            return
        for note in saved.notes:
            warnings.warn(note, stacklevel=4)
        scores = saved.array
    scores_nN = read_scores(scores)
    with TemporaryDirectory(prefix="ldsboard-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "scores.npy"
        np.save(path, scores_nN)
        yield path, source
