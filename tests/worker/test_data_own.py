"""Loading a user's own data set from an .npz file of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from worker.data import DataError, load

if TYPE_CHECKING:
    from pathlib import Path

ARRAYS: dict[str, Any] = {
    "train_images": np.arange(24, dtype=np.uint8).reshape(6, 2, 2),
    "train_labels": np.arange(6, dtype=np.uint8),
    "target_images": np.arange(8, dtype=np.uint8).reshape(2, 2, 2),
    "target_labels": np.array([1, 0], dtype=np.int32),
}


def write(path: Path, **others: Any) -> str:
    np.savez(path, **ARRAYS | others)
    return str(path)


def test_load_reads_arrays_and_description(tmp_path: Path) -> None:
    data = load(write(tmp_path / "leaves.npz", name="Leaves", source="my garden", licence="CC0"))
    np.testing.assert_array_equal(data.train.images, ARRAYS["train_images"])
    np.testing.assert_array_equal(data.target.labels, [1, 0])
    np.testing.assert_array_equal(data.train.index, np.arange(6))
    assert data.train.labels.dtype == np.int64
    assert data.about == {"name": "Leaves", "source": "my garden"}
    assert data.licence == "CC0"
    assert data.ships_images


def test_images_without_licence_do_not_ship(tmp_path: Path) -> None:
    data = load(write(tmp_path / "leaves.npz"))
    assert (data.about["name"], data.licence, data.ships_images) == ("leaves", "not stated", False)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (
            {"train_images": np.zeros((6, 2))},
            r"uint8 \(n, ...\) and train_labels integers \(n,\), n > 0, got float64 \(6, 2\)",
        ),
        ({"train_labels": np.zeros(6)}, r"got uint8 \(6, 2, 2\) and float64 \(6,\)"),
        (
            {"target_labels": np.zeros(3, int)},
            r"target_labels integers \(n,\), n > 0, got uint8 \(2, 2, 2\) and int64 \(3,\)",
        ),
        ({"target_labels": np.array([1, -1])}, "target_labels from 0, got -1"),
        ({"train_labels": np.array([None] * 6)}, "Object arrays cannot be loaded"),
    ],
)
def test_load_rejects_arrays_that_do_not_fit(tmp_path: Path, others: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write(tmp_path / "leaves.npz", **others))


def test_load_names_missing_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "leaves.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="expected the arrays train_images and train_labels, got x"):
        load(str(tmp_path / "leaves.npz"))


def test_load_rejects_files_that_are_no_npz(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("text")
    (tmp_path / "empty.npz").touch()
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    for name in ("absent.npz", "text.npz", "empty.npz", "array.npz"):
        with pytest.raises(DataError, match=f"Cannot read .*{name} as an .npz file of arrays"):
            load(str(tmp_path / name))


def test_load_of_unknown_name_lists_known_names() -> None:
    with pytest.raises(DataError, match=r"expected one of the data sets digits, .*, or a path .*, got 'imagenet'"):
        load("imagenet")
