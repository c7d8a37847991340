"""Reading CIFAR-10 from its official batches, from an archive or a folder, without running code in a pickle."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from worker.data import DataError, cifar10

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BATCH_SIZE = 1003
"""Photographs in a batch file of these tests; official files have 10,000, of which only the first 1,000 are read."""


def batch(pixels: NDArray[np.uint8], labels: list[int]) -> bytes:
    """Pickle a batch as Python 2 did for the official files: protocol 2, byte strings, numpy.core."""

    def text(content: bytes) -> bytes:
        return b"U" + bytes([len(content)]) + content

    def integer(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text(b"b") + b"\x87R"
    kind = b"cnumpy\ndtype\n" + text(b"u1") + b"K\0K\1\x87R"
    kind += b"(K\3" + text(b"|") + b"NNN" + integer(-1) + integer(-1) + b"K\0tb"
    shape = integer(len(pixels)) + integer(3072) + b"\x86"
    content = b"T" + struct.pack("<i", pixels.nbytes) + pixels.tobytes()
    state = b"(K\1" + shape + kind + b"\x89" + content + b"tb"
    members = text(b"batch_label") + text(b"a batch") + text(b"labels") + b"](" + b"".join(map(integer, labels)) + b"e"
    return b"\x80\2}(" + members + text(b"data") + array + state + b"u."


class Batches:
    """Random batches: their arrays, and their files in a folder and in an archive."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.folder = folder / "cifar-10-batches-py"
        self.folder.mkdir()
        self.names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
        self.pixels = [rng.integers(0, 256, (BATCH_SIZE, 3072), dtype=np.uint8) for _ in self.names]
        self.labels = [rng.integers(0, 10, BATCH_SIZE).tolist() for _ in self.names]
        for name, pixels, labels in zip(self.names, self.pixels, self.labels, strict=True):
            (self.folder / name).write_bytes(batch(pixels, labels))
        self.archive = folder / "cifar-10-python.tar.gz"
        with tarfile.open(self.archive, "w:gz", compresslevel=1) as archive:
            archive.add(self.folder, "cifar-10-batches-py")

    def copy_with_replaced(self, folder: Path, name: str, content: bytes) -> Path:
        """Copy the batch files into `folder`, with the content of one file replaced."""
        for path in self.folder.iterdir():
            (folder / path.name).write_bytes(content if path.name == name else path.read_bytes())
        return folder


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Batches:
    return Batches(tmp_path_factory.mktemp("cifar10"))


def test_cifar10_reads_first_thousand_of_every_batch(batches: Batches) -> None:
    data = cifar10.read(batches.archive)
    assert data.train.images.shape == (5000, 32, 32, 3)
    assert data.train.images.dtype == np.uint8
    assert data.target.images.shape == (1000, 32, 32, 3)
    assert data.target.labels.dtype == np.int64
    image = data.train.images[
        3007
    ]  # the eighth of the fourth batch: red, green and blue planes, each stored row by row
    np.testing.assert_array_equal(image[..., 2], batches.pixels[3][7, 2048:].reshape(32, 32))
    np.testing.assert_array_equal(image[5, 9], batches.pixels[3][7].reshape(3, 1024)[:, 5 * 32 + 9])
    np.testing.assert_array_equal(data.train.labels[2000:3000], batches.labels[2][:1000])
    np.testing.assert_array_equal(data.target.labels, batches.labels[5][:1000])
    np.testing.assert_array_equal(data.train.index[[0, 999, 1000, 4999]], [0, 999, 10_000, 40_999])
    np.testing.assert_array_equal(data.target.index, np.arange(1000))


def test_cifar10_reads_same_data_from_folder_and_npz(batches: Batches, tmp_path: Path) -> None:
    data = cifar10.read(batches.archive)
    np.savez(
        tmp_path / "cifar10.npz",
        x_train=data.train.images,
        y_train=data.train.labels.astype(np.uint8),
        train_index=data.train.index,
        x_test=data.target.images,
        y_test=data.target.labels.astype(np.uint8),
        test_index=data.target.index,
    )
    assert cifar10.read(batches.folder).digests == data.digests
    assert cifar10.read(tmp_path / "cifar10.npz").digests == data.digests


def test_cifar10_images_do_not_ship(batches: Batches) -> None:
    assert not cifar10.read(batches.folder).ships_images


def test_cifar10_rejects_images_that_differ_from_published(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDSBOARD_CIFAR10", str(batches.archive))
    with pytest.raises(
        DataError, match="CIFAR-10 differ from the published ones: train_images, train_labels, target_images"
    ):
        cifar10.cifar10_5k()


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"\x80\2cposix\nsystem\n(U\4truetR.", "posix.system"), (pickle.dumps(io.BytesIO()), "_io.BytesIO")],
)
def test_cifar10_rejects_pickle_with_other_objects_than_arrays(
    batches: Batches, tmp_path: Path, content: bytes, name: str
) -> None:
    with pytest.raises(DataError, match=f"asks for {name}, which no array needs"):
        cifar10.read(batches.copy_with_replaced(tmp_path, "test_batch", content))


@pytest.mark.parametrize("content", [b"", b"\x80\2}.", b"\x80\2K\1.", b"not a pickle"])
def test_cifar10_rejects_damaged_batches(batches: Batches, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"Cannot read CIFAR-10 at .*LDSBOARD_CIFAR10"):
        cifar10.read(batches.copy_with_replaced(tmp_path, "data_batch_2", content))


@pytest.mark.parametrize("name", ["absent", "text.tar.gz", "text.npz", "empty.tar.gz"])
def test_cifar10_rejects_other_files(tmp_path: Path, name: str) -> None:
    if name != "absent":
        (tmp_path / name).write_text("something else")
    if name == "empty.tar.gz":
        tarfile.open(tmp_path / name, "w:gz").close()
    with pytest.raises(DataError, match=r"Cannot read CIFAR-10 at .*LDSBOARD_CIFAR10"):
        cifar10.read(tmp_path / name)


def test_cifar10_is_downloaded_if_no_path_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path))
    monkeypatch.setenv("LDSBOARD_CIFAR10", "/named")
    assert str(cifar10.find("http://127.0.0.1:1/cifar.tar.gz")) == "/named"
    monkeypatch.delenv("LDSBOARD_CIFAR10")
    with pytest.raises(DataError, match=r"http://127.0.0.1:1/cifar.*Set LDSBOARD_CIFAR10 to cifar-10-python.tar.gz"):
        cifar10.find("http://127.0.0.1:1/cifar.tar.gz")
