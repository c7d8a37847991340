"""Reading subsets from masks, index lists and packed bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ldsboard import ProblemError
from ldsboard.arrays.masks import count_duplicates, pack_masks, read_masks

MASKS = np.array([[1, 0, 1, 0, 0], [0, 1, 1, 0, 1], [0, 0, 0, 1, 0]], dtype=np.bool_)
LISTS = [[2, 0], [4, 1, 2], [3]]


@pytest.mark.parametrize(
    "masks",
    [
        MASKS,
        MASKS.tolist(),
        MASKS.astype(np.uint8),
        MASKS.astype(np.float32),
        MASKS.astype(np.int64).tolist(),
        np.asfortranarray(MASKS),
        LISTS,
        [np.array(row, dtype=np.uint16) for row in LISTS],
        np.array(LISTS, dtype=object),
        tuple(tuple(row) for row in LISTS),
    ],
    ids=str,
)
def test_read_masks_gives_same_masks_for_every_form(masks: Any) -> None:
    read = read_masks(masks, 5)
    assert read.dtype == np.bool_
    assert np.array_equal(read, MASKS)


def test_pack_masks_uses_little_bit_order() -> None:
    packed = pack_masks(MASKS)
    assert packed.tolist() == [[0b00101], [0b10110], [0b01000]]
    assert np.array_equal(read_masks(packed, 5, packed=True), MASKS)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 64, 65])
def test_read_masks_inverts_pack_masks(n: int, rng: np.random.Generator) -> None:
    masks_Mn = rng.random((6, n)) < 0.5
    assert pack_masks(masks_Mn).shape == (6, -(-n // 8))
    assert np.array_equal(read_masks(pack_masks(masks_Mn), n, packed=True), masks_Mn)


def test_read_masks_infers_n_from_width() -> None:
    assert read_masks(MASKS, None).shape == (3, 5)
    assert read_masks(MASKS.astype(float), None).shape == (3, 5)


def test_read_masks_reads_index_lists_of_equal_length() -> None:
    read = read_masks([[1, 0], [2, 4]], 5)
    assert [np.flatnonzero(row).tolist() for row in read] == [[0, 1], [2, 4]]
    assert read_masks(np.array([[0], [1]]), 5).sum() == 2


def test_read_masks_reads_permutations_as_index_lists() -> None:
    assert read_masks([[2, 0, 1], [0, 1, 2]], 3).all()


def test_read_masks_accepts_empty_subsets() -> None:
    assert read_masks([[], [1], []], 3).sum(axis=1).tolist() == [0, 1, 0]
    assert not read_masks([[], []], 3).any()


@pytest.mark.parametrize(
    ("masks", "n", "words"),
    [
        (MASKS, 6, r"masks of width n = 6.*\(3, 5\)"),
        (MASKS.astype(float), 6, r"masks of width n = 6"),
        (MASKS.T, 5, r"masks of width n = 5.*\(5, 3\), which is transposed\. Give masks\.T"),
        (MASKS.T.astype(int), 5, r"\(5, 3\), which is transposed"),
        (MASKS.astype(int), 6, r"unique indices.*mask would need 6 columns"),
        (MASKS.astype(float) * 2, 5, "zeros and ones.*other floating-point values"),
        (np.full((2, 5), np.nan), 5, "zeros and ones"),
        (MASKS.astype(complex), 5, "dtype complex128"),
        (np.array([["a", "b"]]), 2, "dtype <U1"),
        (np.array([[None, None]]), 2, "dtype object"),
        (MASKS[0], 5, r"two dimensions \(M, n\), got shape \(5,\)"),
        (np.zeros((2, 2, 2)), 2, r"shape \(2, 2, 2\)"),
        ([[0, 5], [1]], 5, r"indices in \[0, 5\), got 5 in subset 0"),
        ([[0, 1], [3, -1, 2]], 5, r"indices in \[0, 5\), got -1 in subset 1"),
        (np.array([[0, 2**63 + 1]], dtype=np.uint64), 5, "9223372036854775809 in subset 0"),
        ([[0, 1, 2], [3, 3]], 5, "unique indices.*1 repeated indices in subset 1"),
        ([[0.0, 1.0, 2.0], [3.0]], 5, "integer indices, got dtype float64 in subset 0"),
        ([[True, False], [True]], 5, "integer indices, got dtype bool in subset 0"),
        ([[[0, 1]], [[1, 2]]], 5, "nested or scalar rows"),
        ([[0, [1, 2]], [3]], 5, "subset"),
        ([0, 1, 2], 5, "nested or scalar rows"),
        ("masks.npy", 5, "nested or scalar rows"),
        (5, 5, "subset"),
        (None, 5, "subset"),
        (LISTS, None, "Give n_train"),
    ],
    ids=str,
)
def test_read_masks_rejects_other_inputs(masks: Any, n: int | None, words: str) -> None:
    with pytest.raises(ProblemError, match=words) as caught:
        read_masks(masks, n)
    assert caught.value.problem.code == "masks.invalid"


@pytest.mark.parametrize(
    ("packed", "n", "words"),
    [
        (pack_masks(MASKS), None, "Give n_train"),
        (pack_masks(MASKS), 9, r"uint8 \(M, 2\) for n = 9, got uint8 \(3, 1\)"),
        (pack_masks(MASKS).astype(np.int16), 5, r"got int16 \(3, 1\)"),
        (pack_masks(MASKS)[0], 5, r"got uint8 \(1,\)"),
        (np.packbits(MASKS, axis=1), 5, "zeros in the unused last bits.*bitorder='little'.*5 training examples"),
    ],
)
def test_read_masks_rejects_packed_masks_that_do_not_fit(packed: Any, n: int | None, words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        read_masks(packed, n, packed=True)


def test_count_duplicates_counts_repeated_subsets() -> None:
    assert count_duplicates(MASKS) == 0
    assert count_duplicates(MASKS[[0, 1, 0, 0, 1]]) == 3


def test_read_masks_recognises_packed_bits_without_packed_option() -> None:
    masks = np.random.default_rng(0).random((4, 40)) < 0.5
    with pytest.raises(ProblemError, match=r"looks like packed bits\. Pass packed=True"):
        read_masks(pack_masks(masks), 40)


def test_read_masks_reads_bytes_as_index_lists_if_they_are_no_packed_bits_of_one_size() -> None:
    """A row of 5 distinct bytes below 40 is an index list; as packed bits, the rows would be subsets of several sizes."""
    rng = np.random.default_rng(0)
    lists = np.stack([rng.permutation(40)[:5] for _ in range(8)])
    assert np.array_equal(read_masks(lists.astype(np.uint8), 40), read_masks(lists, 40))
    for ambiguous in (lists[:7], np.tile(2 ** np.arange(5), (8, 1))):
        with pytest.raises(ProblemError, match=r"looks like packed bits.* For index lists, give masks\.astype\(int\)"):
            read_masks(ambiguous.astype(np.uint8), 40)
        assert read_masks(ambiguous.astype(np.uint8).astype(int), 40).sum(axis=1).tolist() == [5] * len(ambiguous)
    for index in (40, lists[0, 1]):  # out of range, and repeated
        invalid = lists.copy()
        invalid[0, 0] = index
        with pytest.raises(ProblemError, match="looks like packed bits"):
            read_masks(invalid.astype(np.uint8), 40)


@pytest.mark.parametrize("n", [9, 20, 64, 250, 400])
def test_packed_bits_are_not_taken_for_index_lists(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(200):
        masks = rng.permuted(np.tile(np.arange(n) < n // 2, (8, 1)), axis=1)
        for drawn in (masks, rng.random((8, n)) < 0.5):
            for order in ("little", "big"):
                bits = np.packbits(drawn, axis=1, bitorder=order)
                with pytest.raises(ProblemError, match="looks like packed bits"):
                    read_masks(bits, n)
