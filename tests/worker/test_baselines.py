"""All baselines, as functions and as a command, on a benchmark folder without its hidden folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import typer

from ldsboard import cache
from ldsboard.manifest import BundleError
from ldsboard.retraining import device
from tests.worker.tiny import TINY
from worker.baselines import command
from worker.baselines.material import Examples, Material
from worker.baselines.registry import BASELINES
from worker.baselines.tuning import tune
from worker.data import DataError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

SUBSETS = 12


@pytest.fixture(scope="module")
def small(pulled: Path) -> Material:
    """The material of the benchmark, reduced to a few examples, with random subsets for tuning by folds."""
    material, rng = Material.open(pulled), np.random.default_rng(0)
    train = Examples(material.train.inputs[:40], material.train.labels[:40])
    target = Examples(material.target.inputs[:9], material.target.labels[:9])
    masks_Mn = rng.random((SUBSETS, 40)) < 0.5
    margins_MRN = rng.normal(size=(SUBSETS, 2, 9)).astype(np.float32)
    return replace(
        material, models=material.models[:2], train=train, target=target, masks_Mn=masks_Mn, margins_MRN=margins_MRN
    )


@pytest.mark.parametrize("name", BASELINES)
def test_scores_are_finite_float32_and_reproducible(name: str, small: Material) -> None:
    baseline = BASELINES[name]
    scores_nN = baseline.score(small, baseline.frozen)
    assert scores_nN.shape == (40, 9)
    assert scores_nN.dtype == np.float32
    assert np.isfinite(scores_nN).all()
    assert scores_nN.std(axis=0).min() > 0
    assert scores_nN.tobytes() == baseline.score(small, baseline.frozen).tobytes()


def test_frozen_setting_is_among_tuned_settings() -> None:
    assert all(baseline.frozen in baseline.settings for baseline in BASELINES.values())


@pytest.mark.parametrize("name", BASELINES)
def test_tuning_scores_every_setting(name: str, small: Material) -> None:
    trials = list(tune(name, small))
    assert [trial.setting for trial in trials] == list(BASELINES[name].settings)
    assert all(-1 <= trial.lds <= 1 for trial in trials)


def test_tuning_scores_fitted_method_on_held_out_subsets(small: Material) -> None:
    # The margins are pure noise: a fit reproduces the subsets that it was fitted to, and cannot predict other subsets.
    assert all(trial.lds < 0.5 for trial in tune("datamodel", small))


def test_material_contains_only_public_rows(pulled: Path, tmp_path: Path) -> None:
    assert Material.open(pulled).masks_Mn.shape == (TINY.public, 1200)
    shutil.copytree(pulled, tmp_path, dirs_exist_ok=True)
    edit_manifest(tmp_path, split="open", ranking=[3, 4], subsets={"public": 3, "ranking": 1})
    assert Material.open(tmp_path).masks_Mn.shape == (3, 1200)
    assert len(Material.open(tmp_path).margins_MRN) == 3


def edit_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "public" / "benchmark.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def remove_files(folder: Path, pattern: str) -> None:
    """Delete the matching files from a benchmark folder and from its manifest."""
    public = folder / "public"
    for path in public.glob(pattern):
        path.unlink()
    files = json.loads((public / "benchmark.json").read_text())["files"]
    edit_manifest(folder, files={name: digest for name, digest in files.items() if (public / name).exists()})


def test_opening_material_creates_no_files(pulled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    shutil.copytree(pulled, tmp_path, dirs_exist_ok=True)
    before = set(tmp_path.rglob("*"))
    Material.open(tmp_path)
    assert set(tmp_path.rglob("*")) == before


def test_material_rejects_benchmark_without_reference_models(pulled: Path, tmp_path: Path) -> None:
    shutil.copytree(pulled, tmp_path, dirs_exist_ok=True)
    remove_files(tmp_path, "kit/reference-*.safetensors")
    with pytest.raises(BundleError, match="no reference models in"):
        Material.open(tmp_path)


@pytest.mark.parametrize("pattern", ["*_images.npy", "target_images.npy"])
def test_material_takes_missing_images_from_users_data(pulled: Path, tmp_path: Path, pattern: str) -> None:
    shutil.copytree(pulled, tmp_path, dirs_exist_ok=True)
    remove_files(tmp_path, pattern)
    shipped, own = Material.open(pulled), Material.open(tmp_path)
    torch.testing.assert_close(own.train.inputs, shipped.train.inputs, rtol=0, atol=0)
    torch.testing.assert_close(own.target.inputs, shipped.target.inputs, rtol=0, atol=0)


def test_material_rejects_images_that_differ_from_benchmark(pulled: Path, tmp_path: Path) -> None:
    shutil.copytree(pulled, tmp_path, dirs_exist_ok=True)
    remove_files(tmp_path, "*_images.npy")
    dataset = json.loads((tmp_path / "public" / "benchmark.json").read_text())["dataset"]
    edit_manifest(tmp_path, dataset=dataset | {"sha256": dataset["sha256"] | {"target_images": 64 * "0"}})
    with pytest.raises(DataError, match=r"from the published ones: target_images\."):
        Material.open(tmp_path)


def test_command_writes_scores_and_prints_cost(
    worker: Callable[..., subprocess.CompletedProcess[str]], pulled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    done = worker("baseline", "datamodel", "--benchmark", pulled, "--out", out)
    assert done.returncode == 0, done.stderr
    cost = json.loads(done.stdout)
    assert cost["seconds"] > 0
    assert (cost["device"], cost["models"]) == (device.processor_name(), TINY.public * TINY.runs)
    assert np.load(out).shape == (1200, 597)


def test_command_accepts_name_of_pulled_benchmark_and_tunes(
    pulled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LDSBOARD_CACHE", "cache")
    shutil.copytree(pulled, cache.folder(cache.default_server(), "digits-mlp", 1))
    command.baseline("similarity", benchmark="digits-mlp", tuning=True)
    assert capsys.readouterr().out.startswith("similarity None: ")
    command.baseline("random", benchmark="digits-mlp")
    assert np.load("scores.npy").shape == (1200, 597)


def test_command_reports_unknown_baseline_and_missing_benchmark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path))
    with pytest.raises(typer.BadParameter, match=r"expected one of random, similarity, .*, got 'nothing'"):
        command.baseline("nothing", benchmark="digits-mlp")
    with pytest.raises(BundleError, match="ldsboard pull digits-mlp"):
        command.baseline("random", benchmark="digits-mlp")
