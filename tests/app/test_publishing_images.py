"""Publishing a benchmark together with images that its folder lacks, if their hashes match the manifest."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.benchmarks import catalog
from ldsboard.bundle import Bundle
from ldsboard.images import ImagesError
from tests.app.benchmarks import publish, write_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example

RNG = np.random.default_rng(0)
TRAIN, TARGET = (RNG.integers(0, 256, (count, 4, 5, 3), dtype=np.uint8) for count in (60, 7))
DATASET = {
    "name": "noise",
    "sha256": {
        "train_images": hashlib.sha256(TRAIN.tobytes()).hexdigest(),
        "target_images": hashlib.sha256(TARGET.tobytes()).hexdigest(),
    },
}


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return write_benchmark(tmp_path / "worker", dataset=DATASET)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """An .npz archive of another program, with other array names, additional arrays and a text file."""
    path = tmp_path / "copy.npz"
    np.savez(path, y_train=np.arange(60), x_train=TRAIN, x_test=TARGET)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("about.txt", "noise")
    return path


def _as_folder(images: Path) -> Path:
    folder = images.with_name("copy")
    folder.mkdir()
    for name in ("x_train", "x_test"):
        with np.load(images) as archive:
            np.save(folder / f"{name}.npy", archive[name])
    return folder


@pytest.mark.parametrize("place", [lambda images: images, _as_folder], ids=["an archive", "a folder"])
def test_added_images_are_published_with_the_benchmark(
    database: Database, tmp_path: Path, example: Example, images: Path, place: Callable[[Path], Path]
) -> None:
    before = (example.folder / "public/benchmark.json").read_bytes()
    version = publish(database, tmp_path / "benchmarks", example.folder, place(images))
    stated = version.manifest["files"]
    published = tmp_path / "benchmarks/toy/1"
    bundle = Bundle.open(published)  # verifies every file of the manifest
    assert bundle.manifest.files == stated
    np.testing.assert_array_equal(bundle.array("train_images"), TRAIN)
    np.testing.assert_array_equal(bundle.array("target_images"), TARGET)
    with np.load(io.BytesIO((published / "downloads/public.npz").read_bytes())) as arrays:
        np.testing.assert_array_equal(arrays["train_images"], TRAIN)
    assert (example.folder / "public/benchmark.json").read_bytes() == before
    assert not (example.folder / "public/train_images.npy").exists()


def _altered(images: Path) -> Path:
    other = TRAIN.copy()
    other[-1, -1, -1, -1] ^= 1
    np.savez(images, x_train=other, x_test=TARGET)
    return images


def _in_another_order(images: Path) -> Path:
    np.savez(images, x_train=TRAIN[::-1], x_test=TARGET)
    return images


def _without_targets(images: Path) -> Path:
    np.savez(images, x_train=TRAIN)
    return images


def _of_another_type(images: Path) -> Path:
    np.savez(images, x_train=TRAIN, x_test=TARGET.view(np.int8))
    return images


def _flat(images: Path) -> Path:
    np.savez(images, x_train=TRAIN.reshape(-1), x_test=TARGET)
    return images


def _no_archive(images: Path) -> Path:
    images.write_bytes(b"no archive")
    return images


def _one_array(images: Path) -> Path:
    path = images.with_suffix(".npy")
    np.save(path, TRAIN)
    return path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_altered, "has no array with the sha256 that toy states for train_images.npy."),
        (_in_another_order, "has no array with the sha256 that toy states for train_images.npy."),
        (_without_targets, "has no array with the sha256 that toy states for target_images.npy."),
        (_of_another_type, "has no array with the sha256 that toy states for target_images.npy."),
        (_flat, "has no array with the sha256 that toy states for train_images.npy."),
        (_no_archive, "cannot be read: "),
        (_one_array, "cannot be read: "),
        (lambda images: images.with_name("absent"), "cannot be read: "),
    ],
)
def test_wrong_images_are_rejected_and_leave_no_files(
    database: Database, tmp_path: Path, example: Example, images: Path, damage: Callable[[Path], Path], message: str
) -> None:
    place = damage(images)
    with pytest.raises(ImagesError) as raised:
        publish(database, tmp_path / "benchmarks", example.folder, place)
    assert message in str(raised.value)
    assert not (tmp_path / "benchmarks").exists()
    with database.read() as session:
        assert catalog.current_versions(session) == []


def test_images_are_rejected_for_a_benchmark_without_image_hashes(
    database: Database, tmp_path: Path, images: Path
) -> None:
    example = write_benchmark(tmp_path / "unnamed")
    with pytest.raises(ImagesError, match="does not state the sha256 of its images"):
        publish(database, tmp_path / "benchmarks", example.folder, images)


def test_images_are_rejected_for_a_benchmark_that_has_images(
    database: Database, tmp_path: Path, example: Example, images: Path
) -> None:
    publish(database, tmp_path / "benchmarks", example.folder, images)
    complete = tmp_path / "benchmarks/toy/1"
    with pytest.raises(ImagesError, match="toy already has images"):
        publish(database, tmp_path / "elsewhere", complete, images)


def test_publish_command_adds_images_or_explains_the_rejection(
    tmp_path: Path, example: Example, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDSBOARD_DATA_DIR", str(tmp_path / "data"))
    arguments = ["benchmark", "publish", str(example.folder), "--images"]
    refused = CliRunner().invoke(cli, [*arguments, str(tmp_path)])
    assert refused.exit_code == 2
    assert "has no array with the sha256 that toy states for target_images.npy, train_images.npy." in refused.stderr
    published = CliRunner().invoke(cli, [*arguments, str(images)])
    assert published.stdout == f"Published toy version 1 in the data folder {tmp_path / 'data'}.\n", published.stderr
    assert (tmp_path / "data/benchmarks/toy/1/public/target_images.npy").is_file()
