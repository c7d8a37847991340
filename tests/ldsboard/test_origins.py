"""Reading ground truth in the file formats of other projects.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard.importing.origins import BitOrder, Origin, RowOrder
from ldsboard.importing.reading import read_origin
from ldsboard.importing.tables import RawArray, TableError
from tests.ldsboard.origin_files import (
    MARGINS,
    MASKS,
    RAGGED,
    RUNS_MN,
    M,
    N,
    index_lists,
    n,
    rng,
    save_labels,
    save_origin,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def write_datamodels_store(folder: Path, masks: NDArray[Any], margins: NDArray[Any], done: NDArray[np.bool_]) -> None:
    """Write a store as the datamodels project does: memory maps of zeros, in which each finished model fills its row."""
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


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("precision", [np.float16, np.float32, np.float64])
def test_read_origin_reads_trak_masks_and_margins(tmp_path: Path, kind: Any, precision: Any) -> None:
    margins_MN = MARGINS.astype(precision)
    found = read_origin(save_origin(tmp_path, RAGGED.astype(kind), margins_MN))
    assert np.array_equal(found.masks_Mn, RAGGED)
    assert np.array_equal(found.margins_MRN, margins_MN[:, None, :])
    assert (found.masks_Mn.dtype.name, found.margins_MRN.dtype.name) == ("bool", "float32")
    assert not found.rounded
    assert found.labels == {}


@pytest.mark.parametrize("order", list(BitOrder))
@pytest.mark.parametrize("axis", [1, None])
def test_read_origin_reads_packed_bits_in_both_bit_orders(tmp_path: Path, order: BitOrder, axis: int | None) -> None:
    bits = np.packbits(RAGGED, axis=axis, bitorder=order.value)
    found = read_origin(save_origin(tmp_path, bits, n_train=n, packed=order))
    assert np.array_equal(found.masks_Mn, RAGGED)


def test_read_origin_detects_wrong_bit_order_by_padding(tmp_path: Path) -> None:
    for order, other in ((BitOrder.BIG, BitOrder.LITTLE), (BitOrder.LITTLE, BitOrder.BIG)):
        bits = np.packbits(MASKS, axis=1, bitorder=order.value)
        with pytest.raises(
            TableError, match=f"must be 0, but some are 1. If the bit order is not {other}, give --packed {order}"
        ):
            read_origin(save_origin(tmp_path, bits, n_train=n, packed=other))


def test_read_origin_reads_completed_rows_of_datamodels_store(tmp_path: Path) -> None:
    done = rng.random(M) < 0.8
    write_datamodels_store(tmp_path, RAGGED, MARGINS, done)
    origin = Origin(tmp_path / "masks.npy", tmp_path / "margins.npy", completed=tmp_path / "_completed.npy")
    found = read_origin(origin)
    assert np.array_equal(found.masks_Mn, RAGGED[done])
    assert np.array_equal(found.margins_MRN[:, 0], MARGINS[done].astype(np.float16))
    counted = f"has {(~done).sum()} rows without a training example; the first is row {np.argmin(done)}"
    message = rf"{counted}\..*--completed _completed\.npy"
    with pytest.raises(TableError, match=message):
        read_origin(Origin(origin.masks, origin.margins))


@pytest.mark.parametrize("form", ["every row has its mask", "one mask for the rows of its runs", "rows in any order"])
def test_read_origin_groups_rows_of_one_subset_into_runs(tmp_path: Path, form: str) -> None:
    masks, rows, order = np.repeat(MASKS, 3, axis=0), RUNS_MN.reshape(-1, N), None
    if form == "one mask for the rows of its runs":
        masks, order = MASKS, RowOrder.SUBSET
    if form == "rows in any order":
        by_run = np.concatenate([np.arange(run, 3 * M, 3) for run in range(3)])
        masks, rows = masks[by_run], rows[by_run]
    found = read_origin(save_origin(tmp_path, masks, rows, runs=3, order=order))
    assert np.array_equal(found.masks_Mn, MASKS)
    assert np.array_equal(found.margins_MRN, RUNS_MN)


def test_read_origin_keeps_run_axis_of_margins(tmp_path: Path) -> None:
    assert np.array_equal(read_origin(save_origin(tmp_path, MASKS, RUNS_MN)).margins_MRN, RUNS_MN)


@pytest.mark.parametrize("form", ["runs as an axis", "every run has its row", "one mask for the rows of its runs"])
def test_read_origin_averages_evaluations_of_each_model_in_float64(tmp_path: Path, form: str) -> None:
    """Of 2 runs with 3 evaluations each, the mean is rounded once; a sum in float32 would lose the 1."""
    values_MRKN = rng.normal(size=(M, 2, 3, N)).astype(np.float32)
    values_MRKN[0, 1, :, 2] = 2**26, 1, -(2**26)
    masks, values, runs, order = MASKS, values_MRKN.reshape(M, 6, N), 1, None
    if form != "runs as an axis":
        values, runs, order = values_MRKN.reshape(2 * M, 3, N), 2, RowOrder.SUBSET
    if form == "every run has its row":
        masks, order = np.repeat(MASKS, 2, axis=0), None
    found = read_origin(save_origin(tmp_path, masks, values, runs=runs, evaluations=3, order=order))
    assert np.array_equal(found.masks_Mn, MASKS)
    assert found.margins_MRN[0, 1, 2] == np.float32(1 / 3)
    expected_MRN = (values_MRKN.astype(np.float64).sum(axis=2) / 3).astype(np.float32)
    np.testing.assert_array_max_ulp(found.margins_MRN, expected_MRN, maxulp=1)


def test_read_origin_drops_store_subsets_with_incomplete_runs(tmp_path: Path) -> None:
    """TRAK's cifar2_correlation also drops groups of models in which one model is not completed."""
    done = np.ones(3 * M, dtype=bool)
    done[[4, 30, 31, 32]] = False
    write_datamodels_store(tmp_path, np.repeat(MASKS, 3, axis=0), RUNS_MN.reshape(-1, N), done)
    origin = Origin(tmp_path / "masks.npy", tmp_path / "margins.npy", runs=3, completed=tmp_path / "_completed.npy")
    found = read_origin(origin)
    kept = np.delete(np.arange(M), [1, 10])
    assert np.array_equal(found.masks_Mn, MASKS[kept])
    assert np.array_equal(found.margins_MRN, RUNS_MN[kept].astype(np.float16))


def test_read_origin_reads_dattri_index_lists_and_values(tmp_path: Path) -> None:
    """The arrays are those of calculate_lds_ground_truth, saved by numpy: int64 (M, m), and float32 (M, N), already negated."""
    indices_Mm = np.stack([rng.permutation(indices) for indices in index_lists(MASKS)])
    found = read_origin(save_origin(tmp_path, indices_Mm, MARGINS, n_train=n))
    assert np.array_equal(found.masks_Mn, MASKS)
    assert np.array_equal(found.margins_MRN[:, 0], MARGINS)


def test_read_origin_reads_dattri_retrain_folder(tmp_path: Path) -> None:
    for i, indices in enumerate(index_lists(MASKS)):
        (tmp_path / "retrain" / str(i)).mkdir(parents=True)
        (tmp_path / "retrain" / str(i) / "indices.txt").write_text("\n".join(map(str, rng.permutation(indices))))
    np.save(tmp_path / "values.npy", MARGINS)
    found = read_origin(Origin(tmp_path / "retrain", tmp_path / "values.npy", n_train=n))
    assert np.array_equal(found.masks_Mn, MASKS)


def test_read_origin_reads_index_lists_of_equal_or_different_lengths(tmp_path: Path) -> None:
    np.save(tmp_path / "margins.npy", MARGINS)
    np.save(tmp_path / "even.npy", index_lists(MASKS))
    np.savez(tmp_path / "ragged.npz", *index_lists(RAGGED))
    (tmp_path / "ragged.json").write_text(json.dumps([indices.tolist() for indices in index_lists(RAGGED)]))
    np.save(tmp_path / "train_labels.npy", np.arange(n) % 10)
    for file, expected in (("even.npy", MASKS), ("ragged.npz", RAGGED), ("ragged.json", RAGGED)):
        origin = Origin(tmp_path / file, tmp_path / "margins.npy")
        for known in (replace(origin, n_train=n), replace(origin, train_labels=tmp_path / "train_labels.npy")):
            assert np.array_equal(read_origin(known).masks_Mn, expected)


def test_read_origin_inverts_removed_examples_only_on_request(tmp_path: Path) -> None:
    lists = np.stack(index_lists(~MASKS))
    assert np.array_equal(read_origin(save_origin(tmp_path, lists, n_train=n, removed=True)).masks_Mn, MASKS)
    assert np.array_equal(read_origin(save_origin(tmp_path, lists, n_train=n)).masks_Mn, ~MASKS)
    assert np.array_equal(read_origin(save_origin(tmp_path, ~MASKS, removed=True)).masks_Mn, MASKS)


def test_read_origin_negates_losses_only_on_request(tmp_path: Path) -> None:
    assert np.array_equal(read_origin(save_origin(tmp_path, MASKS, losses=True)).margins_MRN[:, 0], -MARGINS)
    assert np.array_equal(read_origin(save_origin(tmp_path, MASKS)).margins_MRN[:, 0], MARGINS)


def test_read_origin_reports_rounding_of_margins_to_float32(tmp_path: Path) -> None:
    assert read_origin(save_origin(tmp_path, MASKS, MARGINS + np.pi)).rounded is False
    assert read_origin(save_origin(tmp_path, MASKS, MARGINS.astype(np.float64) + np.pi)).rounded is True


def test_read_origin_reads_labels(tmp_path: Path) -> None:
    labels = save_labels(tmp_path, "train", np.arange(n)) | save_labels(tmp_path, "target", np.arange(N)[:, None])
    found = read_origin(save_origin(tmp_path, MASKS, **labels))
    assert {part: values.tolist() for part, values in found.labels.items()} == {
        "train": list(range(n)),
        "target": list(range(N)),
    }


def test_read_origin_takes_whole_floats_as_indices_and_labels(tmp_path: Path) -> None:
    """numpy.savetxt writes 3 as 3.000000000000000000e+00."""
    np.savetxt(tmp_path / "subsets.txt", np.stack(index_lists(MASKS)))
    np.savetxt(tmp_path / "masks.txt", RAGGED)
    lists = [indices.astype(float) for indices in index_lists(RAGGED)]
    np.savez(tmp_path / "ragged.npz", *lists)
    np.savetxt(tmp_path / "labels.txt", np.arange(n))
    np.save(tmp_path / "margins.npy", MARGINS)
    for name, expected in (("subsets.txt", MASKS), ("masks.txt", RAGGED), ("ragged.npz", RAGGED)):
        origin = Origin(tmp_path / name, tmp_path / "margins.npy", n_train=n, train_labels=tmp_path / "labels.txt")
        found = read_origin(origin)
        assert np.array_equal(found.masks_Mn, expected)
        assert found.labels["train"].tolist() == list(range(n))


def test_read_origin_takes_files_of_further_margins_as_runs(tmp_path: Path) -> None:
    paths = [tmp_path / f"seed{run}.npy" for run in range(3)]
    for run, path in enumerate(paths):
        np.save(path, RUNS_MN[:, run])
    np.save(tmp_path / "mask.npy", MASKS)
    origin = Origin(tmp_path / "mask.npy", paths[0], further_runs=tuple(paths[1:]))
    assert np.array_equal(read_origin(origin).margins_MRN, RUNS_MN)
    assert list(origin.files) == ["masks", "margins", "margins_of_run_2", "margins_of_run_3"]
    with pytest.raises(TableError, match=r"expected the shape \(M, N\) in each of .* without --runs and --evaluations"):
        read_origin(replace(origin, runs=3))
    np.save(paths[1], RUNS_MN[:-1, 1])
    with pytest.raises(TableError, match=r"and 2 further files, .* got the shapes \(29, 4\), \(30, 4\)"):
        read_origin(origin)


def test_read_origin_refuses_integers_that_a_further_file_of_decimals_would_round(tmp_path: Path) -> None:
    large = np.arange(M * N).reshape(M, N) + 2**53
    for first, second in ((MARGINS, large), (large, MARGINS)):
        origin = save_origin(tmp_path, MASKS, first)
        np.save(tmp_path / "second.npy", second)
        with pytest.raises(TableError, match=r"val_margins\.npy, there are integers of a magnitude above 2\*\*53"):
            read_origin(replace(origin, further_runs=(tmp_path / "second.npy",)))


@pytest.mark.parametrize("kind", [np.bool_, np.int8, np.uint8, np.float16])
def test_read_origin_reads_more_masks_than_their_type_counts(tmp_path: Path, kind: Any) -> None:
    masks = np.unique(rng.random((400, n)) < 0.5, axis=0)[::-1]
    assert len(masks) > 300
    assert masks[0, 0]
    found = read_origin(save_origin(tmp_path, masks.astype(kind), rng.normal(size=(len(masks), N)).astype("f4")))
    assert np.array_equal(found.masks_Mn, masks)


def test_read_origin_takes_ascending_windows_as_subsets(tmp_path: Path) -> None:
    windows = np.arange(12)[:, None] + np.arange(5)
    found = read_origin(save_origin(tmp_path, windows, MARGINS[:12], n_train=n))
    assert [np.flatnonzero(row).tolist() for row in found.masks_Mn] == windows.tolist()
    alone = read_origin(save_origin(tmp_path, np.arange(12)[:, None], np.arange(12.0)[:, None], n_train=n))
    assert alone.masks_Mn.sum() == 12


def test_read_origin_takes_runs_as_first_axis_if_only_this_fits(tmp_path: Path) -> None:
    found = read_origin(save_origin(tmp_path, MASKS, RUNS_MN.swapaxes(0, 1)))
    assert np.array_equal(found.margins_MRN, RUNS_MN)
    (note,) = found.notes
    assert note.endswith("val_margins.npy are the runs, and the second one the subsets.")
    square_MRN = rng.normal(size=(M, M, 2))
    assert np.array_equal(read_origin(save_origin(tmp_path, MASKS, square_MRN)).margins_MRN, square_MRN.astype("f4"))


def test_read_origin_reads_raw_files_in_the_order_masks_margins(tmp_path: Path) -> None:
    MASKS.tofile(tmp_path / "masks.dat")
    MARGINS.tofile(tmp_path / "margins.dat")
    np.save(tmp_path / "masks.npy", MASKS)
    np.save(tmp_path / "margins.npy", MARGINS)
    masks, margins = RawArray("bool", MASKS.shape), RawArray("float32", MARGINS.shape)
    for names, raw in (
        (("masks.dat", "margins.dat"), (masks, margins)),
        (("masks.npy", "margins.dat"), (margins,)),
        (("masks.dat", "margins.npy"), (masks,)),
    ):
        found = read_origin(Origin(tmp_path / names[0], tmp_path / names[1], raw=raw))
        assert np.array_equal(found.masks_Mn, MASKS)
        assert np.array_equal(found.margins_MRN[:, 0], MARGINS)
    with pytest.raises(
        TableError, match=r"expected them 2 times, got them 1 time\. Give them for .*masks\.dat and .*margins\.dat"
    ):
        read_origin(Origin(tmp_path / "masks.dat", tmp_path / "margins.dat", raw=(masks,)))
    with pytest.raises(TableError, match=r"expected them 0 times, got them 1 time\. No file is without a header"):
        read_origin(Origin(tmp_path / "masks.npy", tmp_path / "margins.npy", raw=(masks,)))


def test_read_origin_reads_subsets_and_margins_of_one_file(tmp_path: Path) -> None:
    lines = [
        json.dumps({"train_subset": indices.tolist(), "test_loss": (-margins_N).tolist()})
        for indices, margins_N in zip(index_lists(RAGGED), MARGINS, strict=True)
    ]
    path = tmp_path / "lds.jsonl"
    path.write_text("\n".join([json.dumps({"_meta": {"num_train": n}}), *lines]))
    found = read_origin(Origin(path, path, n_train=n, losses=True))
    assert np.array_equal(found.masks_Mn, RAGGED)
    assert np.array_equal(found.margins_MRN[:, 0], MARGINS)
    np.savez(tmp_path / "both.npz", first=MARGINS, second=MARGINS + 1, third=MASKS)
    both = Origin(tmp_path / "both.npz", tmp_path / "both.npz", margins_key="second")
    assert np.array_equal(read_origin(both).margins_MRN[:, 0], MARGINS + 1)
    np.save(tmp_path / "mask.npy", MASKS)
    with pytest.raises(TableError, match=r"mask\.npy holds one table\. Give two files"):
        read_origin(Origin(tmp_path / "mask.npy", tmp_path / "mask.npy"))
