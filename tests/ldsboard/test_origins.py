"""Ground truth in the forms in which other projects write it, each written here as they do.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard.origins import BitOrder, Origin, read_origin
from ldsboard.tables import TableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

M, n, N = 30, 21, 4
rng = np.random.default_rng(5)
MASKS = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
RAGGED = rng.random((M, n)) < 0.5
MARGINS = rng.normal(size=(M, N)).astype(np.float32)


def _save(folder: Path, masks: Any, margins: Any = MARGINS, **options: Any) -> Origin:
    """Write both files, into a folder of their own: what is mapped still cannot be replaced everywhere."""
    folder = folder / f"{len(list(folder.iterdir()))}"
    folder.mkdir()
    np.save(folder / "mask.npy", masks)
    np.save(folder / "val_margins.npy", margins)
    return Origin(folder / "mask.npy", folder / "val_margins.npy", **options)


def _lists(masks_Mn: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    return [np.flatnonzero(mask_n) for mask_n in masks_Mn]


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("precision", [np.float16, np.float32, np.float64])
def test_trak_pairs_of_masks_and_margins_are_read_whole(tmp_path: Path, kind: Any, precision: Any) -> None:
    margins_MN = MARGINS.astype(precision)
    found = read_origin(_save(tmp_path, RAGGED.astype(kind), margins_MN))
    assert np.array_equal(found.masks_Mn, RAGGED)
    assert np.array_equal(found.margins_MRN, margins_MN[:, None, :])
    assert (found.masks_Mn.dtype.name, found.margins_MRN.dtype.name) == ("bool", "float32")
    assert not found.rounded
    assert found.labels == {}


@pytest.mark.parametrize("order", list(BitOrder))
@pytest.mark.parametrize("axis", [1, None])
def test_packed_bits_are_read_in_either_order_by_row_or_in_one_piece(
    tmp_path: Path, order: BitOrder, axis: int | None
) -> None:
    bits = np.packbits(RAGGED, axis=axis, bitorder=order.value)
    found = read_origin(_save(tmp_path, bits, n_train=n, packed=order))
    assert np.array_equal(found.masks_Mn, RAGGED)


def test_packed_bits_in_the_other_order_are_noticed_by_what_pads_them(tmp_path: Path) -> None:
    for order, other in ((BitOrder.BIG, BitOrder.LITTLE), (BitOrder.LITTLE, BitOrder.BIG)):
        bits = np.packbits(MASKS, axis=1, bitorder=order.value)
        with pytest.raises(TableError, match=f"got ones: the bits are in another order.*Give --packed {order}"):
            read_origin(_save(tmp_path, bits, n_train=n, packed=other))


def _store(folder: Path, masks: NDArray[Any], margins: NDArray[Any], done: NDArray[np.bool_]) -> None:
    """What datamodels' initialize_store and worker leave: memory maps of zeros, in which each model fills its row."""
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "masks": (np.bool_, masks.shape),
        "margins": (np.float16, margins.shape),
        "_completed": (np.bool_, (len(masks),)),
    }
    for key, (dtype, shape) in shapes.items():
        np.lib.format.open_memmap(folder / f"{key}.npy", mode="w+", dtype=dtype, shape=shape).flush()
    for key, values in (("masks", masks), ("margins", margins), ("_completed", done)):
        mapped = np.load(folder / f"{key}.npy", mmap_mode="r+")
        for index in np.flatnonzero(done):
            mapped[index] = values[index]
        mapped.flush()


def test_a_store_of_datamodels_is_read_but_for_the_rows_that_no_model_filled(tmp_path: Path) -> None:
    done = rng.random(M) < 0.8
    _store(tmp_path, RAGGED, MARGINS, done)
    origin = Origin(tmp_path / "masks.npy", tmp_path / "margins.npy", completed=tmp_path / "_completed.npy")
    found = read_origin(origin)
    assert np.array_equal(found.masks_Mn, RAGGED[done])
    assert np.array_equal(found.margins_MRN[:, 0], MARGINS[done].astype(np.float16))
    message = rf"got none in {(~done).sum()} of {M}, the first row {np.argmin(done)}.*--completed _completed\.npy"
    with pytest.raises(TableError, match=message):
        read_origin(Origin(origin.masks, origin.margins))


RUNS_MN = rng.normal(size=(M, 3, N)).astype(np.float32)


@pytest.mark.parametrize("form", ["every row has its mask", "one mask for the rows of its runs", "rows in any order"])
def test_rows_of_one_subset_become_its_runs(tmp_path: Path, form: str) -> None:
    masks, rows = np.repeat(MASKS, 3, axis=0), RUNS_MN.reshape(-1, N)
    if form == "one mask for the rows of its runs":
        masks = MASKS
    if form == "rows in any order":
        order = np.concatenate([np.arange(run, 3 * M, 3) for run in range(3)])
        masks, rows = masks[order], rows[order]
    found = read_origin(_save(tmp_path, masks, rows, runs=3))
    assert np.array_equal(found.masks_Mn, MASKS)
    assert np.array_equal(found.margins_MRN, RUNS_MN)


def test_margins_with_an_axis_of_runs_keep_it(tmp_path: Path) -> None:
    assert np.array_equal(read_origin(_save(tmp_path, MASKS, RUNS_MN)).margins_MRN, RUNS_MN)


def test_of_a_store_only_subsets_with_all_their_runs_are_taken_as_trak_does(tmp_path: Path) -> None:
    """As in TRAK's cifar2_correlation: groups of models of which one is not completed are left out."""
    done = np.ones(3 * M, dtype=bool)
    done[[4, 30, 31, 32]] = False
    _store(tmp_path, np.repeat(MASKS, 3, axis=0), RUNS_MN.reshape(-1, N), done)
    origin = Origin(tmp_path / "masks.npy", tmp_path / "margins.npy", runs=3, completed=tmp_path / "_completed.npy")
    found = read_origin(origin)
    kept = np.delete(np.arange(M), [1, 10])
    assert np.array_equal(found.masks_Mn, MASKS[kept])
    assert np.array_equal(found.margins_MRN, RUNS_MN[kept].astype(np.float16))


def test_dattri_index_tensors_and_values_are_read(tmp_path: Path) -> None:
    """As calculate_lds_ground_truth returns them, saved by numpy: int64 (M, m) and, negated already, float32 (M, N)."""
    indices_Mm = np.stack([rng.permutation(indices) for indices in _lists(MASKS)])
    found = read_origin(_save(tmp_path, indices_Mm, MARGINS, n_train=n))
    assert np.array_equal(found.masks_Mn, MASKS)
    assert np.array_equal(found.margins_MRN[:, 0], MARGINS)


def test_the_subsets_of_a_dattri_retrain_folder_are_read(tmp_path: Path) -> None:
    for i, indices in enumerate(_lists(MASKS)):
        (tmp_path / "retrain" / str(i)).mkdir(parents=True)
        (tmp_path / "retrain" / str(i) / "indices.txt").write_text("\n".join(map(str, rng.permutation(indices))))
    np.save(tmp_path / "values.npy", MARGINS)
    found = read_origin(Origin(tmp_path / "retrain", tmp_path / "values.npy", n_train=n))
    assert np.array_equal(found.masks_Mn, MASKS)


def test_index_lists_of_a_notebook_are_read_even_or_ragged(tmp_path: Path) -> None:
    np.save(tmp_path / "margins.npy", MARGINS)
    np.save(tmp_path / "even.npy", _lists(MASKS))
    np.savez(tmp_path / "ragged.npz", *_lists(RAGGED))
    (tmp_path / "ragged.json").write_text(json.dumps([indices.tolist() for indices in _lists(RAGGED)]))
    np.save(tmp_path / "train_labels.npy", np.arange(n) % 10)
    for file, expected in (("even.npy", MASKS), ("ragged.npz", RAGGED), ("ragged.json", RAGGED)):
        origin = Origin(tmp_path / file, tmp_path / "margins.npy")
        for known in (replace(origin, n_train=n), replace(origin, train_labels=tmp_path / "train_labels.npy")):
            assert np.array_equal(read_origin(known).masks_Mn, expected)


def test_removed_examples_are_inverted_on_request_alone(tmp_path: Path) -> None:
    lists = np.stack(_lists(~MASKS))
    assert np.array_equal(read_origin(_save(tmp_path, lists, n_train=n, removed=True)).masks_Mn, MASKS)
    assert np.array_equal(read_origin(_save(tmp_path, lists, n_train=n)).masks_Mn, ~MASKS)
    assert np.array_equal(read_origin(_save(tmp_path, ~MASKS, removed=True)).masks_Mn, MASKS)


def test_losses_are_negated_on_request_alone(tmp_path: Path) -> None:
    assert np.array_equal(read_origin(_save(tmp_path, MASKS, losses=True)).margins_MRN[:, 0], -MARGINS)
    assert np.array_equal(read_origin(_save(tmp_path, MASKS)).margins_MRN[:, 0], MARGINS)


def test_rounding_of_margins_to_float32_is_told(tmp_path: Path) -> None:
    assert read_origin(_save(tmp_path, MASKS, MARGINS + np.pi)).rounded is False
    assert read_origin(_save(tmp_path, MASKS, MARGINS.astype(np.float64) + np.pi)).rounded is True


def _labels(folder: Path, part: str, labels: Any) -> dict[str, Any]:
    np.save(folder / f"{part}.npy", labels)
    return {f"{part}_labels": folder / f"{part}.npy"}


def test_labels_are_taken_along(tmp_path: Path) -> None:
    labels = _labels(tmp_path, "train", np.arange(n)) | _labels(tmp_path, "target", np.arange(N)[:, None])
    found = read_origin(_save(tmp_path, MASKS, **labels))
    assert {part: values.tolist() for part, values in found.labels.items()} == {
        "train": list(range(n)),
        "target": list(range(N)),
    }


def _with_nan() -> NDArray[np.float32]:
    broken = MARGINS.copy()
    broken[[3, 7], 2] = np.nan
    return broken


BITS = np.packbits(RAGGED, axis=1)
REFUSED: dict[str, tuple[Callable[[Path], Origin], str]] = {
    "margins of fewer models": (
        lambda folder: _save(folder, MASKS, MARGINS[:-2]),
        r"mask\.npy and .*val_margins\.npy.*expected real margins of shape \(30, N\).*got float32 of shape \(28, 4\)",
    ),
    "transposed margins": (
        lambda folder: _save(folder, MASKS, MARGINS.T),
        r"The subsets seem to be axis 1: give numpy\.moveaxis\(margins, 1, 0\)",
    ),
    "transposed masks": (
        lambda folder: _save(folder, MASKS.T, MARGINS),
        r"The masks seem to be transposed: give masks\.T",
    ),
    "masks transposed, by what is known of n": (
        lambda folder: _save(folder, MASKS.T, MARGINS, n_train=n),
        r"mask\.npy: .*which is transposed\. Give masks\.T",
    ),
    "one margin for each subset": (lambda folder: _save(folder, MASKS, MARGINS[:, 0]), r"of shape \(30,\)"),
    "no array of margins": (lambda folder: _save(folder, MASKS, np.float32(3)), "expected rows of numbers in"),
    "margins that are words": (
        lambda folder: _save(folder, MASKS, np.full((M, N), "a")),
        "expected rows of numbers in",
    ),
    "diverged models": (
        lambda folder: _save(folder, MASKS, _with_nan()),
        "NaN or infinite values for 2 of 30 subsets: 3, 7",
    ),
    "margins beyond float32": (
        lambda folder: _save(folder, MASKS, MARGINS.astype(float) * 1e300),
        r"expected margins that float32 holds in .*val_margins\.npy",
    ),
    "index lists without n": (
        lambda folder: _save(folder, np.stack(_lists(MASKS))),
        r"got other numbers\. Index lists need --n-train N",
    ),
    "an index out of range": (
        lambda folder: _save(folder, np.stack(_lists(MASKS)), n_train=n - 1),
        r"mask\.npy: .*expected indices in \[0, 20\), got 20",
    ),
    "indices from 1": (
        lambda folder: _save(folder, np.stack(_lists(MASKS)) + 1, n_train=n),
        "Number the training examples from 0",
    ),
    "packed bits without a word": (lambda folder: _save(folder, BITS), "packed bits need it too, and --packed big"),
    "packed bits by their width": (
        lambda folder: _save(folder, BITS, n_train=n),
        "got bytes that look like packed bits. Give --packed big",
    ),
    "packed bits without n": (
        lambda folder: _save(folder, BITS, packed=BitOrder.BIG),
        "expected --n-train N, the number of training examples, with the packed bits",
    ),
    "packed bits of another n": (
        lambda folder: _save(folder, BITS, n_train=40, packed=BitOrder.BIG),
        r"uint8 \(M, 5\).*got uint8 \(30, 3\)\. Is --n-train right",
    ),
    "masks that are not packed": (
        lambda folder: _save(folder, MASKS, n_train=n, packed=BitOrder.BIG),
        "Masks that are not packed need no --packed",
    ),
    "repeated subsets": (
        lambda folder: _save(folder, np.concatenate([MASKS[:-2], MASKS[[0, 5]]])),
        r"got 2 that repeat another, such as rows 0 and 28\. Leave them out of both files",
    ),
    "runs that were not named": (
        lambda folder: _save(folder, np.repeat(MASKS, 3, axis=0), RUNS_MN.reshape(-1, N)),
        r"got 60 that repeat another.*If these are runs, give --runs 3",
    ),
    "another number of runs": (
        lambda folder: _save(folder, np.repeat(MASKS, 3, axis=0), RUNS_MN.reshape(-1, N), runs=2),
        "expected 2 rows of .* got from 3 to 3, of 1 run",
    ),
    "runs of which one is missing": (
        lambda folder: _save(folder, np.repeat(MASKS, 3, axis=0)[:-1], RUNS_MN.reshape(-1, N)[:-1], runs=3),
        "got from 2 to 3",
    ),
    "runs twice": (lambda folder: _save(folder, MASKS, RUNS_MN, runs=3), r"of 3 run\(s\) each"),
    "too few labels": (
        lambda folder: _save(folder, MASKS, **_labels(folder, "target", np.arange(N - 1))),
        r"expected a label for each of 4 target examples in .*target\.npy, got 3",
    ),
    "labels that are none": (
        lambda folder: _save(folder, MASKS, **_labels(folder, "train", np.ones(n))),
        r"expected one integer for each train example in .*train\.npy, got float64",
    ),
    "completion of other models": (
        lambda folder: _save(folder, MASKS, completed=_labels(folder, "train", np.ones(7))["train_labels"]),
        r"expected one 0 or 1 in .*got float64 of shape \(7,\) for 30 and 30 rows",
    ),
    "nothing that was completed": (
        lambda folder: _save(folder, MASKS, completed=_labels(folder, "train", np.zeros(M))["train_labels"]),
        r"train\.npy, got 0 of 30",
    ),
}


@pytest.mark.parametrize(("origin", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_files_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, origin: Callable[[Path], Origin], message: str
) -> None:
    with pytest.raises(TableError, match=message) as refused:
        read_origin(origin(tmp_path))
    assert str(tmp_path) in str(refused.value)
