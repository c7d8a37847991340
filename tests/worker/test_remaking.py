"""A benchmark remade from its manifest and the operator's hidden.json has the same bytes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from ldsboard.bundle import Bundle
from ldsboard.manifest import BundleError
from tests.worker.tiny import TINY, import_file, run_in_subprocess
from worker import recipes
from worker.gathering import gather
from worker.plan import ConfigurationError, recipe_file
from worker.remaking import remake

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def original(trained: Path) -> Path:
    # A separate process on two cores has two threads by default; the reference models must not depend on this.
    torch.set_num_threads(2)
    gather(trained, recipes.load)
    return trained


@pytest.fixture
def published(original: Path, tmp_path: Path) -> Path:
    """A folder with only the manifest of the original benchmark."""
    folder = tmp_path / "published"
    (folder / "public").mkdir(parents=True)
    shutil.copy(original / "public" / "benchmark.json", folder / "public")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every public and hidden file by its path."""
    halves = ("public", "hidden")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for half in halves
        for path in (folder / half).rglob("*")
        if path.is_file()
    }


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "public" / "benchmark.json"
    members = json.loads(path.read_text())
    change(members)
    path.write_text(json.dumps(members))


def test_remake_from_manifest_and_hidden_seed_gives_same_bytes(original: Path, published: Path, tmp_path: Path) -> None:
    saved_seed = tmp_path / "kept.json"
    seed = json.loads((original / "hidden" / "hidden.json").read_text())
    # Keep only the fields that exist before the training.
    saved_seed.write_text(json.dumps({name: seed[name] for name in ("seed", "nonce")}))
    remade = tmp_path / "again"
    run = run_in_subprocess(
        "remake", published, "--hidden", saved_seed, "--out", remade, "--processes", "2", "--shard-size", "12"
    )
    assert run.returncode == 0, run.stderr
    assert "may differ" not in run.stderr
    before, after = files(original), files(remade)
    assert len(before) == 19
    # Only one value is measured instead of computed: the processor time.
    manifests = [json.loads(made.pop("public/benchmark.json")) for made in (before, after)]
    assert all(manifest["provenance"].pop("seconds") > 0 for manifest in manifests)
    assert manifests[0] == manifests[1]
    assert before == after
    assert Bundle.open(remade).hidden().nonce.hex() == seed["nonce"]
    assert seed["seed"] not in run.stderr


def test_remake_rejects_original_folder_as_output(
    published: Path, worker: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    run = worker("remake", published, "--out", published / ".." / published.name)
    assert run.returncode != 0
    assert "Choose another folder" in " ".join(run.stderr.split())
    assert sorted(path.name for path in published.iterdir()) == ["public"]


def test_remake_reads_plan_from_manifest(original: Path) -> None:
    assert remake(original, recipes.load).plan == TINY


def test_remake_rejects_other_hidden_seed(original: Path, tmp_path: Path) -> None:
    other = tmp_path / "hidden.json"
    other.write_text(json.dumps({"seed": "00" * 16, "nonce": "00" * 16}))
    with pytest.raises(ConfigurationError, match="does not match the commitment"):
        remake(original, recipes.load, other)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[1]",
        '{"seed": "xyz", "nonce": "secret"}',
        '{"seed": "00", "nonce": "5ec3"}',
        f'{{"seed": "{"f" * 33}", "nonce": "{"00" * 16}"}}',
    ],
)
def test_remake_rejects_damaged_hidden_file_without_printing_it(original: Path, tmp_path: Path, content: str) -> None:
    damaged = tmp_path / "hidden.json"
    damaged.write_text(content)
    with pytest.raises(ConfigurationError, match="must hold a seed and a nonce of 32 hexadecimal") as error:
        remake(original, recipes.load, damaged)
    assert "secret" not in str(error.value)


def test_remake_requires_hidden_seed(published: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"The hidden seed .*hidden\.json is missing"):
        remake(published, recipes.load)


def test_remake_rejects_changed_recipe_or_data_set(original: Path, published: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.py"
    changed.write_text(recipe_file(recipes.load("digits-mlp")).read_text() + "# changed\n")
    with pytest.raises(ConfigurationError, match="The recipe digits-mlp differs from the kit's recipe"):
        remake(original, lambda _: import_file(changed))
    rewrite(published, lambda members: members["dataset"]["sha256"].update(train_images="0" * 64))
    with pytest.raises(ConfigurationError, match=r"The data set Optical .* Digits differs from the data set that"):
        remake(published, recipes.load)


def test_remake_rejects_manifest_without_required_provenance(published: Path) -> None:
    rewrite(published, lambda members: members["provenance"].pop("models_at_once"))
    with pytest.raises(BundleError, match="lacks 'models_at_once'"):
        remake(published, recipes.load)


def test_remake_reports_differences_of_machine(original: Path, published: Path) -> None:
    assert remake(original, recipes.load).differences == []
    shutil.copytree(original / "hidden", published / "hidden")
    rewrite(published, lambda members: members["provenance"].update(instruction_set="ANOTHER"))
    (difference,) = remake(published, recipes.load).differences
    assert difference.startswith("instruction_set was ANOTHER, is ")
    assert remake(published, recipes.load).plan == replace(TINY)
