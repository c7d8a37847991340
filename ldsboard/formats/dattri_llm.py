"""Read the scores of dattri-llm, and put their rows in the order of the training examples.

dattri-llm 0.1.0 saves two files. ``scores.pt`` has one row for each use of a training example in a training step, in the order of
the training. ``metadata.json`` names the example of each row by a hash of the content of the example. Neither file tells the
order of the examples in the benchmark: the user writes the hashes in this order to ``order.txt``.

Legend: P rows, n training examples, N targets.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.counts import count
from ldsboard.formats.headers import unreadable
from ldsboard.formats.torch_files import read_tensor
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SCORES, DESCRIPTION, ORDER = "scores.pt", "metadata.json", "order.txt"
ROWS, STEPS = "row_train_ids", "row_steps"
"""Members of ``metadata.json``: the hash of the training example of each row, and the training step of each row."""

HINT = (
    f"Write the hashes of the benchmark's training examples, as in {ROWS}, to {ORDER} in this folder: one a line, in the "
    "order of the benchmark. The rows are then put in this order, and the rows of one example are summed."
)
NOTE = f"The rows of dattri-llm were put in the order of {ORDER}, and the rows of one example were summed."


def describes(folder: Path) -> bool:
    """Return whether a folder has a ``metadata.json`` of dattri-llm that names the example and the step of each row."""
    return _description(folder) is not None


def read_file(path: Path, key: str | None = None) -> NDArray[np.float64]:
    """Return the scores of dattri-llm, (n, N), in the order of ``order.txt``; the rows of one example are summed in float64.

    Parameters
    ----------
    path
        The file with the tensor, (P, N), in the folder of ``metadata.json`` and ``order.txt``. The columns keep their order, that
        of ``test_ids`` in ``metadata.json``.
    key
        Name of the table: the dict keys and list positions that lead to the table, joined by dots.

    Raises
    ------
    ProblemError
        ``scores.unreadable``: ``order.txt`` is missing, repeats a hash, lacks the hash of a row, or has a hash without a row; or
        ``metadata.json`` is missing or has another number of rows than the tensor.
        Also the errors of `read_tensor`.
    OSError
        A file cannot be read.
    """
    about, order = _description(path.parent), path.with_name(ORDER)
    if about is None or not order.is_file():
        got = f"scores of dattri-llm: {DESCRIPTION} says in {ROWS} that the rows are in the order of the training"
        raise unreadable(got, HINT)
    scores_PN, ids_P = read_tensor(path, key), about[ROWS]
    ids_n = order.read_text(encoding="utf-8", errors="replace").split()
    if len(ids_P) != len(scores_PN):
        raise _unlike(f"{len(scores_PN)} names in {ROWS}, one for each row of {path.name}", count(len(ids_P), "name"))
    example_of = {name: i for i, name in enumerate(ids_n)}
    if len(example_of) < len(ids_n):
        # Examples of the same content have one hash, and nothing tells which rows belong to which of them.
        raise _unlike(
            f"each hash once in {ORDER}", f"{count(len(ids_n), 'line')} with {len(example_of)} different hashes"
        )
    if unknown := [name for name in ids_P if name not in example_of]:
        raise _unlike(
            f"every hash of {ROWS} in {ORDER}", f"{count(len(unknown), 'row')} of others, such as {unknown[0]!r:.60}"
        )
    if absent := sorted(example_of.keys() - set(ids_P)):
        raise _unlike(f"a row for every hash of {ORDER}", f"{len(absent)} without a row, such as {absent[0]!r:.60}")
    scores_nN = np.zeros((len(ids_n), *scores_PN.shape[1:]))
    np.add.at(scores_nN, [example_of[name] for name in ids_P], scores_PN)
    return scores_nN


def _description(folder: Path) -> dict[str, Any] | None:
    """Return the content of ``metadata.json`` if it names the example and the step of each row, otherwise None."""
    described = folder / DESCRIPTION
    if not described.is_file():
        return None
    try:
        about = json.loads(described.read_text(encoding="utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(about, dict) and all(isinstance(about.get(name), list) for name in (ROWS, STEPS))
    return about if is_list and all(isinstance(name, str) for name in about[ROWS]) else None


def _unlike(expected: str, got: str) -> ProblemError:
    return ProblemError.mismatch("scores.unreadable", expected=expected, got=got, hint=HINT)
