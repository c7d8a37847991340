"""Subset sizes: which sizes count as one, the benchmarks of several sizes, and the LDS that the sizes alone give.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldsboard import GroundTruth
from ldsboard.arrays.sizes import rows_by_size, sizes_in_words
from ldsboard.importing.origins import Origin
from ldsboard.importing.reading import ImportedArrays
from ldsboard.importing.sizes import Minimum, boards_by_size, large_sizes, only_board, score_of_ones
from ldsboard.importing.tables import TableError

n, N = 50, 4
MINIMUM = Minimum(public=2, ranking=8)
ORIGIN = Origin(Path("mask.npy"), Path("val_margins.npy"))
ABOUT: dict[str, Any] = {"name": "cifar2", "title": "CIFAR-2"}
rng = np.random.default_rng(21)


def ground_truth(*sizes: int) -> ImportedArrays:
    """Return subsets of these sizes with margins that grow with the size."""
    masks_Mn = rng.permuted(np.arange(n) < np.array(sizes)[:, None], axis=1)
    margins_MRN = (masks_Mn.sum(axis=1)[:, None, None] / n + rng.normal(size=(len(sizes), 1, N))).astype(np.float32)
    return ImportedArrays(masks_Mn, margins_MRN, {}, rounded=False)


@pytest.mark.parametrize(
    ("sizes", "examples", "groups"),
    [
        ([500, 500, 500], 999, [[0, 1, 2]]),
        ([500, 501, 500], 999, [[0, 2], [1]]),
        ([501, 499, 500], 1000, [[0, 1, 2]]),
        ([502, 499, 500], 1000, [[1, 2], [0]]),
        ([25_050, 24_950, 25_051], 50_000, [[0, 1], [2]]),
        ([700, 300, 301, 702, 303], 1000, [[1, 2], [4], [0, 3]]),
    ],
)
def test_sizes_within_a_thousandth_of_n_are_one_size(sizes: list[int], examples: int, groups: list[list[int]]) -> None:
    assert [rows.tolist() for rows in rows_by_size(np.array(sizes), examples)] == groups


def test_words_list_few_sizes_and_count_many() -> None:
    assert sizes_in_words(np.array([3000, 7000, 3000])) == "2 subsets of 3,000 examples, 1 subset of 7,000 examples"
    assert sizes_in_words(np.array([4, 1, 2, 3, 9])) == "5 sizes from 1 to 9 examples"


def test_score_of_ones_equals_the_score_of_a_file_of_ones() -> None:
    found = ground_truth(*[10, 30, 40] * 20)
    ones = score_of_ones(found)
    whole = GroundTruth(found.masks_Mn, found.margins_MRN).score(np.ones((n, N)))
    assert ones.per_target.tobytes() == whole.per_target.tobytes()
    assert (ones.lds, ones.z_random) == (whole.lds, whole.z_random)
    assert ones.lds > 0.2


def test_one_size_makes_one_benchmark_with_all_subsets() -> None:
    found = ground_truth(*[20] * 10)
    assert only_board(ORIGIN, found, ABOUT, None, MINIMUM) == (found, ABOUT | {"ranking": (0, 10)})


def test_several_sizes_are_rejected_with_the_lds_of_a_file_of_ones() -> None:
    found = ground_truth(*[15, 35] * 20)
    ones = score_of_ones(found)
    with pytest.raises(TableError) as rejected:
        only_board(ORIGIN, found, ABOUT, None, MINIMUM)
    assert str(rejected.value) == (
        "mask.npy holds 20 subsets of 15 examples, 20 subsets of 35 examples, but all subsets of a benchmark must have one size. "
        f"Otherwise a part of the LDS comes from the sizes alone: here a file of ones has an LDS of {ones.lds:.3f}, "
        f"{ones.z_random:.1f} standard deviations from chance. Add --by-size to make a benchmark of each size."
    )


def test_few_subsets_of_another_size_are_left_out_and_named() -> None:
    """As bergson leaves 99 subsets of 4,608 examples and one of another size."""
    found = ground_truth(*[35] * 12, 20, *[35] * 7)
    kept = [*range(12), *range(13, 20)]
    for requested, ranking in ((None, (0, 19)), ("all", (0, 19)), ("5-20", (5, 19)), ("8-18", (8, 17))):
        board = only_board(ORIGIN, found, ABOUT, requested, MINIMUM)
        assert board.about == ABOUT | {"ranking": ranking}
        assert np.array_equal(board.found.masks_Mn, found.masks_Mn[kept])
        assert np.array_equal(board.found.margins_MRN, found.margins_MRN[kept])
        assert board.found.notes == ("Left out because of another size than 35 examples: subset 12 of 20 examples.",)


def test_at_most_one_subset_or_5_percent_are_left_out() -> None:
    (note,) = only_board(ORIGIN, ground_truth(*[35] * 285, *[20] * 15), ABOUT, None, MINIMUM).found.notes
    assert note.endswith("subset 294 of 20 examples and 5 more.")
    for sizes in ([35] * 284 + [20] * 16, [35] * 12 + [20] * 2):
        with pytest.raises(TableError, match="but all subsets of a benchmark must have one size"):
            only_board(ORIGIN, ground_truth(*sizes), ABOUT, None, MINIMUM)


@pytest.mark.parametrize(
    ("sizes", "requested"), [([*range(10, 40)], None), ([15] * 8 + [35] * 12, "1-20")], ids=["many sizes", "few rows"]
)
def test_by_size_is_recommended_only_if_a_size_has_enough_subsets(sizes: list[int], requested: str | None) -> None:
    found = ground_truth(*sizes)
    expected = r"No size has 2 public and 8 ranking subsets\. Train models on more subsets of one size\.$"
    with pytest.raises(TableError, match=expected):
        only_board(ORIGIN, found, ABOUT, requested, MINIMUM)
    with pytest.raises(TableError, match=rf"^mask\.npy holds .* examples\. {expected}"):
        boards_by_size(ORIGIN, found, ABOUT, requested, MINIMUM)


def test_each_size_becomes_a_benchmark_with_its_own_rows() -> None:
    found = ground_truth(*[35, 15] * 10, 7, 35)
    (small, large), message = boards_by_size(ORIGIN, found, ABOUT, None, MINIMUM)
    assert small.about == {"name": "cifar2-size-15", "title": "CIFAR-2, subsets of 15", "ranking": (0, 10)}
    assert large.about == {"name": "cifar2-size-35", "title": "CIFAR-2, subsets of 35", "ranking": (0, 11)}
    for board, rows in ((small, range(1, 20, 2)), (large, [*range(0, 20, 2), 21])):
        assert np.array_equal(board.found.masks_Mn, found.masks_Mn[list(rows)])
        assert np.array_equal(board.found.margins_MRN, found.margins_MRN[list(rows)])
    assert message == (
        "Not published, because a benchmark needs 2 public and 8 ranking subsets of one size: 1 subset of 7 examples."
    )
    assert boards_by_size(ORIGIN, ground_truth(*[35, 15] * 10), ABOUT, None, MINIMUM)[1] == ""


def test_requested_ranking_rows_are_rows_of_the_whole_ground_truth() -> None:
    sizes_M = np.array([15] * 3 + [35] * 3 + [15, 35] * 8 + [35, 15])
    chosen = large_sizes(sizes_M, n, (6, 22), MINIMUM)
    assert [(one.size, one.ranking) for one in chosen] == [(15, (3, 11)), (35, (3, 11))]
    for one in chosen:
        assert sizes_M[one.rows].tolist() == [one.size] * 12
        start, stop = one.ranking
        assert all(6 <= row < 22 for row in one.rows[start:stop])
        assert all(row < 6 for row in one.rows[:start])


def test_neighbouring_sizes_are_named_by_their_lower_median() -> None:
    sizes_M = np.array([501, 499, 500, 501, 499, 499] * 2)
    (chosen,) = large_sizes(sizes_M, 1000, None, MINIMUM)
    assert (chosen.size, chosen.rows.size) == (499, 12)
