"""The rows of dattri-llm are put in the order of the examples where that order is given.

Legend: P rows, n training examples, N targets.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ldsboard import ProblemError
from ldsboard.arrays.scores import read_scores
from ldsboard.formats.saved_scores import read_saved

if TYPE_CHECKING:
    from pathlib import Path

n, N, STEPS = 6, 4, 3
rng = np.random.default_rng(3)
STEPS_SnN = (rng.integers(-40, 41, size=(STEPS, n, N)) / 8).astype(np.float32)
HASHES = [f"{i:064x}" for i in rng.integers(0, 2**60, size=n)]
ORDER_P = rng.permutation(STEPS * n)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as dattri-llm 0.1.0 writes it, with rows in the order of a training."""
    path = tmp_path / "scores"
    path.mkdir()
    torch.save(torch.from_numpy(STEPS_SnN.reshape(-1, N)[ORDER_P]), path / "scores.pt")
    about = {"row_train_ids": [HASHES[row % n] for row in ORDER_P], "row_steps": [int(row) // n for row in ORDER_P]}
    (path / "metadata.json").write_text(json.dumps(about))
    return path


@pytest.mark.filterwarnings("ignore:The rows of dattri-llm were put in the order of order.txt:UserWarning")
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_rows_are_put_in_order_and_summed(folder: Path, end: str) -> None:
    (folder / "order.txt").write_text("\n".join(HASHES) + end)
    for path in (folder, folder / "scores.pt"):
        assert np.array_equal(read_scores(path), STEPS_SnN.sum(axis=0))
        (note,) = read_saved(path).notes
        assert "summed" in note


def test_another_order_gives_another_array(folder: Path) -> None:
    (folder / "order.txt").write_text("\n".join(reversed(HASHES)))
    assert np.array_equal(read_saved(folder).array, STEPS_SnN.sum(axis=0)[::-1])


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (None, "rows are in the order of the training"),
        (HASHES[1:], r"every hash of row_train_ids in order\.txt, got 3 rows of others, such as '0"),
        ([*HASHES, "new"], r"a row for every hash of order\.txt, got 1 without a row, such as 'new'"),
        ([*HASHES, HASHES[2]], r"each hash once in order\.txt, got 7 lines with 6 different hashes"),
        ([], "got 18 rows of others"),
    ],
)
def test_order_that_does_not_fit_is_refused(folder: Path, order: list[str] | None, words: str) -> None:
    if order is not None:
        (folder / "order.txt").write_text("\n".join(order))
    for path in (folder, folder / "scores.pt"):
        with pytest.raises(ProblemError, match=words) as refused:
            read_saved(path)
        assert refused.value.problem.code == "scores.unreadable"
        assert "order.txt in this folder: one a line" in refused.value.problem.hint


def test_description_of_another_tensor_is_refused(folder: Path) -> None:
    (folder / "order.txt").write_text("\n".join(HASHES))
    torch.save(torch.zeros(5, N), folder / "scores.pt")
    with pytest.raises(ProblemError, match=r"5 names in row_train_ids, one for each row of scores\.pt, got 18 names"):
        read_saved(folder)
