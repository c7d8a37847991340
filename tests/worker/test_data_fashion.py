"""Reading Fashion-MNIST from the shipped benchmark or the official files; only the published images are accepted."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.worker.tiny import ROOT
from worker.data import DataError, fashion

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def idx(array: NDArray[np.uint8]) -> bytes:
    """Return an array in the IDX format."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture(scope="module")
def arrays() -> dict[str, NDArray[np.uint8]]:
    """Random images and labels: one more than is used of each part."""
    rng = np.random.default_rng(0)
    return {
        f"{part}-{kind}-ubyte": rng.integers(0, high, (count, *shape), dtype=np.uint8)
        for part, count in (("train", 5001), ("t10k", 1001))
        for kind, high, shape in (("images-idx3", 256, (28, 28)), ("labels-idx1", 10, ()))
    }


@pytest.fixture(scope="module")
def files(arrays: dict[str, NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fashion")
    for name, array in arrays.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array), compresslevel=1))
    return folder


def test_fashion_reads_first_images_and_labels(files: Path, arrays: dict[str, NDArray[np.uint8]]) -> None:
    data = fashion.read(files)
    np.testing.assert_array_equal(data.train.images, arrays["train-images-idx3-ubyte"][:5000])
    np.testing.assert_array_equal(data.train.labels, arrays["train-labels-idx1-ubyte"][:5000])
    np.testing.assert_array_equal(data.target.images, arrays["t10k-images-idx3-ubyte"][:1000])
    np.testing.assert_array_equal(data.target.labels, arrays["t10k-labels-idx1-ubyte"][:1000])
    np.testing.assert_array_equal(data.target.index, np.arange(1000))
    assert data.train.images.dtype == np.uint8
    assert data.train.labels.dtype == np.int64


def test_fashion_reads_same_data_from_uncompressed_files(files: Path, tmp_path: Path) -> None:
    for packed in files.iterdir():
        (tmp_path / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    assert fashion.read(tmp_path).digests == fashion.read(files).digests


def test_fashion_rejects_images_that_differ_from_published(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDSBOARD_FASHION_MNIST", str(files))
    with pytest.raises(
        DataError, match="Fashion-MNIST differ from the published ones: train_images, train_labels, target"
    ):
        fashion.fashion5k()


def test_verification_names_differing_array(files: Path) -> None:
    data = fashion.read(files)
    altered = replace(data, target=replace(data.target, labels=data.target.labels[::-1]))
    assert data.verified(data.digests) is data
    with pytest.raises(DataError, match=r"from the published ones: target_labels\."):
        altered.verified(data.digests)


def test_shipped_benchmark_contains_published_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LDSBOARD_FASHION_MNIST", raising=False)
    data = fashion.fashion5k()
    assert data.for_manifest() == json.loads((fashion.SHIPPED / "benchmark.json").read_text())["dataset"]
    assert (data.train.images.shape, data.target.images.shape) == ((5000, 28, 28), (1000, 28, 28))
    assert {part.images.dtype for part in data.parts.values()} == {np.dtype(np.uint8)}
    assert {part.labels.dtype for part in data.parts.values()} == {np.dtype(np.int64)}


def test_shipped_benchmark_is_in_this_checkout() -> None:
    assert fashion.SHIPPED == ROOT / "benchmarks" / "fashion5k-mlp" / "public"


@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY", b"something else"])
def test_missing_or_damaged_shipped_array_is_named(tmp_path: Path, content: bytes | None) -> None:
    for path in fashion.SHIPPED.glob("*.npy"):
        (tmp_path / path.name).symlink_to(path)
    damaged = tmp_path / "target_images.npy"
    damaged.unlink()
    if content is not None:
        damaged.write_bytes(content)
    with pytest.raises(
        DataError,
        match=r"target_images.npy of Fashion-MNIST in .*Restore the file from the repository, or set LDSBOARD",
    ):
        fashion.read_shipped(tmp_path)


def test_fashion_rejects_configured_folder_without_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDSBOARD_FASHION_MNIST", str(tmp_path))
    with pytest.raises(DataError, match=r"holds neither train-images-idx3-ubyte.gz nor train-images-idx3-ubyte\."):
        fashion.fashion5k()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        idx(np.zeros((3, 2), np.uint8))[:-1],
        idx(np.zeros((3, 3), np.uint8)),
        b"\0\0\x0d\2" + idx(np.zeros((3, 2), np.uint8))[4:] + bytes(36),  # floats
        b"PK\3\4 something else altogether",
    ],
)
def test_fashion_rejects_damaged_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels").write_bytes(content)
    (tmp_path / "labels.gz").write_bytes(gzip.compress(content))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(idx(np.zeros((3, 2), np.uint8)))[:-12])
    for name in ("labels", "labels.gz", "cut.gz"):
        with pytest.raises(DataError, match=f"idx file.*{name}"):
            fashion.read_idx(tmp_path / name, 3, (2,))
