"""Rejecting imported files that do not fit together, with an error that names the file.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard.importing.origins import BitOrder, Origin
from ldsboard.importing.reading import read_origin
from ldsboard.importing.tables import TableError
from tests.ldsboard.origin_files import (
    MARGINS,
    MASKS,
    RAGGED,
    RUNS_MN,
    M,
    N,
    index_lists,
    n,
    save_labels,
    save_origin,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def margins_with_nan() -> NDArray[np.float32]:
    broken = MARGINS.copy()
    broken[[3, 7], 2] = np.nan
    return broken


BITS = np.packbits(RAGGED, axis=1)
REJECTED: dict[str, tuple[Callable[[Path], Origin], str]] = {
    "margins of fewer models": (
        lambda folder: save_origin(folder, MASKS, MARGINS[:-2]),
        r"mask\.npy and .*val_margins\.npy.*expected real margins of shape \(30, N\).*got float32 of shape \(28, 4\)",
    ),
    "transposed margins": (
        lambda folder: save_origin(folder, MASKS, MARGINS.T),
        r"The subsets seem to be axis 1: give numpy\.moveaxis\(margins, 1, 0\)",
    ),
    "transposed masks": (
        lambda folder: save_origin(folder, MASKS.T, MARGINS),
        r"The masks seem to be transposed: give masks\.T",
    ),
    "masks transposed, by what is known of n": (
        lambda folder: save_origin(folder, MASKS.T, MARGINS, n_train=n),
        r"mask\.npy: .*which is transposed\. Give masks\.T",
    ),
    "a vector of fewer margins": (lambda folder: save_origin(folder, MASKS, MARGINS[:-1, 0]), r"of shape \(29, 1\)"),
    "no array of margins": (lambda folder: save_origin(folder, MASKS, np.float32(3)), "does not hold rows of numbers"),
    "margins that are words": (
        lambda folder: save_origin(folder, MASKS, np.full((M, N), "a")),
        "does not hold rows of numbers",
    ),
    "diverged models": (
        lambda folder: save_origin(folder, MASKS, margins_with_nan()),
        "NaN or infinite values for 2 of 30 subsets: 3, 7",
    ),
    "margins beyond float32": (
        lambda folder: save_origin(folder, MASKS, MARGINS.astype(float) * 1e300),
        r"margins in .*val_margins\.npy exceed the range of float32",
    ),
    "index lists without n": (
        lambda folder: save_origin(folder, np.stack(index_lists(MASKS))),
        r"is not a 0/1 table .* For index lists, add --n-train N",
    ),
    "an index out of range": (
        lambda folder: save_origin(folder, np.stack(index_lists(MASKS)), n_train=n - 1),
        r"mask\.npy: .*expected indices in \[0, 20\), got 20",
    ),
    "indices from 1": (
        lambda folder: save_origin(folder, np.stack(index_lists(MASKS)) + 1, n_train=n),
        "Number the training examples from 0",
    ),
    "packed bits without a word": (
        lambda folder: save_origin(folder, BITS),
        "For packed bits, add --n-train N and --packed big",
    ),
    "packed bits by their width": (
        lambda folder: save_origin(folder, BITS, n_train=n),
        "looks like packed bits of 21 training examples. Add --packed big",
    ),
    "packed bits that are all 0 or 1": (
        lambda folder: save_origin(folder, (np.arange(90).reshape(30, 3) % 2).astype("u1"), n_train=n),
        "looks like packed bits of 21 training examples. Add --packed big",
    ),
    "packed bits without n": (
        lambda folder: save_origin(folder, BITS, packed=BitOrder.BIG),
        "need --n-train N, the number of training examples",
    ),
    "packed bits of another n": (
        lambda folder: save_origin(folder, BITS, n_train=40, packed=BitOrder.BIG),
        r"uint8 of shape \(30, 5\) for 30 subsets.*Got uint8 of shape \(30, 3\)\. Check --n-train",
    ),
    "masks that are not packed": (
        lambda folder: save_origin(folder, MASKS, n_train=n, packed=BitOrder.BIG),
        "omit --packed if the masks are not packed",
    ),
    "repeated subsets": (
        lambda folder: save_origin(folder, np.concatenate([MASKS[:-2], MASKS[[0, 5]]])),
        r"has 2 rows equal to an earlier row, such as row 28, which equals row 0\. Leave out each repetition in both files",
    ),
    "repeated subsets after a model that was not completed": (
        lambda folder: save_origin(
            folder,
            np.concatenate([MASKS[:-1], MASKS[[5]]]),
            completed=save_labels(folder, "train", (np.arange(M) != 2).astype(float))["train_labels"],
        ),
        r"has 1 row equal to an earlier row, such as row 29, which equals row 5\.",
    ),
    "runs that were not named": (
        lambda folder: save_origin(folder, np.repeat(MASKS, 3, axis=0), RUNS_MN.reshape(-1, N)),
        r"has 60 rows equal to an earlier row.*If the rows of a subset are its runs, each trained anew, give --runs 3",
    ),
    "another number of runs": (
        lambda folder: save_origin(folder, np.repeat(MASKS, 3, axis=0), RUNS_MN.reshape(-1, N), runs=2),
        "Expected 2 rows in .* got between 3 and 3 rows, each with 1 run",
    ),
    "runs of which one is missing": (
        lambda folder: save_origin(folder, np.repeat(MASKS, 3, axis=0)[:-1], RUNS_MN.reshape(-1, N)[:-1], runs=3),
        "got between 2 and 3 rows",
    ),
    "one run twice": (
        lambda folder: save_origin(folder, MASKS, RUNS_MN[:, [0, 1, 0]]),
        r"All margins are equal in runs 0 and 2 of .*val_margins\.npy.* Leave out one of them",
    ),
    "one file for two runs": (
        lambda folder: save_origin(
            folder, MASKS, further_runs=tuple(save_labels(folder, "train", MARGINS).values()) * 2
        ),
        r"All margins are equal in .*val_margins\.npy and .*train\.npy",
    ),
    "runs twice": (lambda folder: save_origin(folder, MASKS, RUNS_MN, runs=3), "rows, each with 3 runs"),
    "evaluations that do not divide the axis": (
        lambda folder: save_origin(folder, MASKS, RUNS_MN, evaluations=2),
        r"--evaluations 2: expected a multiple of 2 as second of three axes in .*val_margins\.npy, got 3",
    ),
    "evaluations without an axis": (
        lambda folder: save_origin(folder, MASKS, evaluations=2),
        r"--evaluations 2: .*, got 1\. Stack evaluations of shape \(subsets, targets\) with numpy\.stack",
    ),
    "too few labels": (
        lambda folder: save_origin(folder, MASKS, **save_labels(folder, "target", np.arange(N - 1))),
        r"--target-labels: expected 4 labels in .*target\.npy, one for each example, got 3",
    ),
    "labels that are none": (
        lambda folder: save_origin(folder, MASKS, **save_labels(folder, "train", np.full(n, 0.5))),
        r"--train-labels: expected one integer for each example in .*train\.npy, got float64",
    ),
    "completion of other models": (
        lambda folder: save_origin(folder, MASKS, completed=save_labels(folder, "train", np.ones(7))["train_labels"]),
        r"must hold a 0 or a 1 .*It holds float64 of shape \(7,\); .* has 30 rows, and .* has 30\.",
    ),
    "nothing that was completed": (
        lambda folder: save_origin(folder, MASKS, completed=save_labels(folder, "train", np.zeros(M))["train_labels"]),
        r"train\.npy marks none of its 30 rows",
    ),
}


@pytest.mark.parametrize(("origin", "message"), REJECTED.values(), ids=REJECTED.keys())
def test_read_origin_rejects_files_that_do_not_fit_and_names_them(
    tmp_path: Path, origin: Callable[[Path], Origin], message: str
) -> None:
    with pytest.raises(TableError, match=message) as refused:
        read_origin(origin(tmp_path))
    assert str(tmp_path) in str(refused.value)
