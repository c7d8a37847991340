"""Publishing checks manifests: field types, agreement with the arrays, and paths inside the folder."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from app.management.publication_checks import PublishError
from ldsboard.manifest import BundleError, Manifest
from tests.app.benchmarks import publish, write_benchmark

if TYPE_CHECKING:
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", None),
        ("licence", ["a"]),
        ("name", 5),
        ("name", "Not a slug"),
        ("version", "1"),
        ("version", True),
        ("version", 2**70),
        ("ceiling", 0.01),
        ("ceiling", "x"),
        ("ceiling_std_error", float("nan")),
        ("attempts_spectrum", 0.5),
        ("null_band", {}),
        ("files", {"masks.npy": "", "margins.npy": "", "kit/../../hidden/hidden.json": ""}),
        ("files", {"/etc/hostname": ""}),
    ],
)
def test_invalid_manifest_field_is_rejected(
    toy: Example, database: Database, tmp_path: Path, field: str, value: Any
) -> None:
    folder = tmp_path / "altered"
    shutil.copytree(toy.folder, folder)
    path = folder / "public" / "benchmark.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ValueError, match=r"an invalid|cannot be published|The manifest (must )?state"):
        publish(database, tmp_path / "published", folder)
    assert not (tmp_path / "published").exists()


@pytest.mark.parametrize(
    "name", ["kit/../../hidden/hidden.json", "/etc/hostname", "kit\\..\\..\\hidden.json", "C:hidden.json"]
)
def test_manifest_file_outside_the_folder_is_rejected(toy: Example, tmp_path: Path, name: str) -> None:
    members = json.loads((toy.folder / "public" / "benchmark.json").read_text())
    members["files"][name] = "0" * 64
    path = tmp_path / "benchmark.json"
    path.write_text(json.dumps(members))
    with pytest.raises(BundleError, match="an invalid files"):
        Manifest.read(path)


def test_hidden_half_is_verified_and_errors_do_not_contain_its_seed(
    toy: Example, database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "altered"
    shutil.copytree(toy.folder, folder)
    path = folder / "hidden" / "hidden.json"
    members = json.loads(path.read_text())
    for altered in (
        members | {"files": {}},
        members | {"seed": members["seed"] + " oops"},
        members | {"seed": "f" * 40},
    ):
        path.write_text(json.dumps(altered))
        with pytest.raises(ValueError, match=r"hidden\.json is damaged") as refused:
            publish(database, tmp_path / "published", folder)
        assert members["seed"] not in str(refused.value)
        assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(("split", "runs"), [("protected", 2), ("open", 2), ("open", 1)])
def test_ceiling_is_required_with_several_runs_and_rejected_with_one(
    database: Database, tmp_path: Path, split: str, runs: int
) -> None:
    folder = write_benchmark(tmp_path, "toy", split=split, runs=runs).folder
    path = folder / "public" / "benchmark.json"
    members = json.loads(path.read_text())
    for field in ("ceiling", "ceiling_std_error"):
        path.write_text(json.dumps(members | {field: 0.5 if runs == 1 else None}))
        with pytest.raises(PublishError, match=r"The noise ceiling is None|The manifest must state the numbers"):
            publish(database, tmp_path / "published", folder)
    path.write_text(json.dumps(members))
    publish(database, tmp_path / "published", folder)


@pytest.mark.parametrize(
    ("provenance", "hint"),
    [
        ({}, "python -m worker gather {folder}"),
        ({"planned": {"public": 50, "ranking": 200}}, "python -m worker gather {folder} --partial"),
        ({"imported": {}}, "python -m app benchmark import, with the options of the first import."),
    ],
)
def test_rejected_ceiling_names_the_command_that_writes_the_folder_again(
    database: Database, tmp_path: Path, provenance: dict[str, Any], hint: str
) -> None:
    folder = write_benchmark(tmp_path, provenance=provenance).folder
    path = folder / "public" / "benchmark.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ceiling": 0.5}))
    with pytest.raises(PublishError) as refused:
        publish(database, tmp_path / "published", folder)
    assert str(refused.value).endswith(hint.format(folder=folder))


def test_labels_are_required_only_with_a_kit(database: Database, tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path, "toy", split="open").folder
    path = folder / "public" / "benchmark.json"
    members = json.loads(path.read_text())
    del members["files"]["train_labels.npy"]
    path.write_text(json.dumps(members))
    with pytest.raises(PublishError, match=r"The kit needs train_labels.npy and target_labels.npy"):
        publish(database, tmp_path / "published", folder)
    del members["files"]["kit/recipe.py"]
    path.write_text(json.dumps(members))
    publish(database, tmp_path / "published", folder)
