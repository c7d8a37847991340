"""Publishing a benchmark folder: checks, copied files, downloads, and repetition after a kill."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from app.benchmarks import catalog
from app.leaderboard.disclosure import benchmark_numbers
from app.management.publication_checks import PublishError
from ldsboard import ProblemError
from ldsboard.manifest import BundleError
from tests.app.benchmarks import publish, write_benchmark
from tests.app.service import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return write_benchmark(tmp_path / "worker")


def _publish(database: Database, tmp_path: Path, folder: Path) -> None:
    publish(database, tmp_path / "benchmarks", folder)


def _versions(database: Database) -> list[int]:
    with database.read() as session:
        return [version.version for version in catalog.current_versions(session)]


def _rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    members = json.loads(path.read_text())
    change(members)
    path.write_text(json.dumps(members))


def _change_array(folder: Path, half: str, name: str, change: Callable[[Any], Any]) -> None:
    """Change an array and update its hash in the manifest."""
    path = folder / half / name
    np.save(path, change(np.load(path)))
    listing = folder / half / ("benchmark.json" if half == "public" else "hidden.json")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    _rewrite(listing, lambda members: members["files"].update({name: digest}))


def _repeat_first(array: Any) -> Any:
    array[1] = array[0]
    return array


def _change_size_of_first(array: Any) -> Any:
    array[0, 0] ^= 1
    return array


def _constant_target(array: Any) -> Any:
    array[..., 3] = 1.5
    return array


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing there": (
        lambda folder: folder.rename(folder.with_name("elsewhere")),
        "Cannot read the benchmark manifest",
    ),
    "no JSON": (
        lambda folder: (folder / "public/benchmark.json").write_text("{"),
        "Cannot read the benchmark manifest",
    ),
    "a list": (lambda folder: (folder / "public/benchmark.json").write_text("[]"), "is not a JSON object"),
    "a missing field": (
        lambda folder: _rewrite(folder / "public/benchmark.json", lambda members: members.pop("alpha")),
        "missing or unknown fields: alpha",
    ),
    "a missing file": (lambda folder: (folder / "public/margins.npy").unlink(), "margins.npy is missing"),
    "an altered file": (
        lambda folder: (folder / "public/kit/recipe.py").write_text("LAYERS = ()\n"),
        "recipe.py was altered",
    ),
    "no hidden half": (lambda folder: (folder / "hidden/hidden.json").unlink(), "The hidden part of toy is missing"),
    "an altered hidden half": (lambda folder: _flip_byte(folder / "hidden/margins.npy"), "margins.npy was altered"),
    "another hidden seed": (
        lambda folder: _rewrite(folder / "hidden/hidden.json", lambda members: members.update(seed=f"{5:032x}")),
        "does not match the commitment",
    ),
    "other hidden masks": (
        lambda folder: _change_array(folder, "hidden", "masks.npy", lambda masks: masks[::-1]),
        "differs from the masks that the hidden seed draws",
    ),
    "a name that is a path": (
        lambda folder: _rewrite(folder / "public/benchmark.json", lambda members: members.update(name="../toy")),
        "a name consists of at most 64",
    ),
    "version zero": (
        lambda folder: _rewrite(folder / "public/benchmark.json", lambda members: members.update(version=0)),
        "a version is at least 1",
    ),
    "an unknown split": (
        lambda folder: _rewrite(folder / "public/benchmark.json", lambda members: members.update(split="secret")),
        "The split is 'secret'",
    ),
    "other counts": (
        lambda folder: _rewrite(
            folder / "public/benchmark.json",
            lambda members: members.update(subsets={"public": 40, "ranking": 1000}),
        ),
        "The manifest states {'public': 40, 'ranking': 1000} subsets",
    ),
    "repeated subsets": (
        lambda folder: _change_array(folder, "public", "masks.npy", _repeat_first),
        "Found 1 repetition",
    ),
    "a subset of another size": (
        lambda folder: _change_array(folder, "public", "masks.npy", _change_size_of_first),
        "of 30 examples, 1 subset of 31 examples, but all subsets of a benchmark must have one size. Train models",
    ),
    "a constant target": (
        lambda folder: _change_array(folder, "hidden", "margins.npy", _constant_target),
        "got 1 constant target: 3",
    ),
    "no ceiling": (
        lambda folder: _rewrite(folder / "public/benchmark.json", lambda members: members.update(ceiling=0.0)),
        "The noise ceiling is 0.0 instead of a positive number",
    ),
}


def _flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("damage", "message"), BREAKS.values(), ids=BREAKS.keys())
def test_broken_folder_is_rejected_and_leaves_no_files(
    database: Database, tmp_path: Path, example: Example, damage: Callable[[Path], object], message: str
) -> None:
    damage(example.folder)
    with pytest.raises((PublishError, BundleError, ProblemError)) as raised:
        _publish(database, tmp_path, example.folder)
    assert message in str(raised.value)
    assert _versions(database) == []
    assert not (tmp_path / "benchmarks").exists()


@pytest.mark.parametrize(("public", "ranking"), [(19, 120), (40, 99)])
def test_too_few_subsets_are_rejected(database: Database, tmp_path: Path, public: int, ranking: int) -> None:
    example = write_benchmark(tmp_path / "few", public=public, ranking=ranking)
    with pytest.raises(PublishError, match="at least 20 public and 100 ranking subsets"):
        _publish(database, tmp_path, example.folder)


def test_version_is_published_once_and_the_highest_is_current(database: Database, tmp_path: Path) -> None:
    for version, current in ((2, 2), (1, 2), (3, 3)):
        _publish(database, tmp_path, write_benchmark(tmp_path / str(version), version=version).folder)
        assert _versions(database) == [current]
    again = write_benchmark(tmp_path / "again", version=2, n=50)
    published = (tmp_path / "benchmarks/toy/2/public/margins.npy").read_bytes()
    with pytest.raises(PublishError, match="toy version 2 is published already"):
        _publish(database, tmp_path, again.folder)
    assert (tmp_path / "benchmarks/toy/2/public/margins.npy").read_bytes() == published


def test_hidden_half_is_copied_with_owner_only_permissions(
    database: Database, tmp_path: Path, example: Example
) -> None:
    (example.folder / "hidden").chmod(0o755)
    _publish(database, tmp_path, example.folder)
    hidden = tmp_path / "benchmarks/toy/1/hidden"
    assert hidden.stat().st_mode & 0o077 == 0
    assert (hidden / "hidden.json").stat().st_mode & 0o077 == 0


def test_downloads_contain_exactly_the_verified_public_files(service: Service, example: Example) -> None:
    stray = example.folder / "public/kit/notes.txt"
    stray.write_text("not in the manifest\n")
    _rewrite(example.folder / "public/benchmark.json", lambda members: members.update(name="downloads"))
    service.publish(example.folder)
    public = example.folder / "public"
    arrays = service.client.get("/benchmarks/downloads/public.npz")
    assert arrays.headers["Content-Disposition"] == 'attachment; filename="downloads-1-public.npz"'
    with np.load(io.BytesIO(arrays.content)) as loaded:
        assert set(loaded) == {"masks", "margins", "train_labels", "target_labels"}
        for name in loaded:
            assert loaded[name].tobytes() == np.load(public / f"{name}.npy").tobytes()
    kit = service.client.get("/benchmarks/downloads/kit.zip", params={"version": 1})
    with zipfile.ZipFile(io.BytesIO(kit.content)) as archive:
        assert archive.testzip() is None
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert contents.keys() == {"benchmark.json", "kit/recipe.py"}
    assert contents["kit/recipe.py"] == (public / "kit/recipe.py").read_bytes()
    stated, packed = json.loads((public / "benchmark.json").read_text()), json.loads(contents["benchmark.json"])
    assert packed == stated | benchmark_numbers(stated)


PUBLISH_SLOWLY = """
import sys
from pathlib import Path
from app.db.sessions import Database
from app.management import publishing

database = Database(sys.argv[1])
with publishing.prepare(Path(sys.argv[2]), Path(sys.argv[3])) as made, database.write() as session:
    publishing.publish(session, made)
    print("copied", flush=True)
    sys.stdin.read()
"""


def test_publishing_can_be_repeated_after_a_kill_before_the_commit(
    database: Database, tmp_path: Path, example: Example
) -> None:
    root = tmp_path / "benchmarks"
    command = [sys.executable, "-c", PUBLISH_SLOWLY, str(database.engine.url), str(root), str(example.folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"copied\n"
        process.kill()
    assert (root / "toy/1").exists()
    assert _versions(database) == []
    (root / "toy/1.partial").mkdir()
    (root / "toy/1/public/masks.npy").write_bytes(b"half")
    _publish(database, tmp_path, example.folder)
    assert _versions(database) == [1]
    assert not (root / "toy/1.partial").exists()
    assert (root / "toy/1/public/masks.npy").read_bytes() == (example.folder / "public/masks.npy").read_bytes()
