"""Gathering shards into a benchmark folder: its contents, its kit, and the secrecy of its hidden seed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ldsboard.bundle import Bundle
from ldsboard.retraining.trainer import REFERENCE_SUBSET
from ldsboard.subsets import draw_masks
from tests.worker.tiny import HIDDEN_SEED, TINY, import_file
from worker import recipes
from worker.gathering import gather
from worker.plan import Configuration
from worker.shards import ShardError, read_shards
from worker.training import Trainer, prepare_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def bundle(trained: Path) -> Bundle:
    gather(trained, recipes.load)
    return Bundle.open(trained)


def test_gathered_margins_are_ordered_by_subset_and_run(bundle: Bundle, trainer: Trainer) -> None:
    hidden = bundle.hidden()
    assert bundle.margins_MRN.shape == (4, 2, 597)
    assert hidden.margins_MRN.shape == (6, 2, 597)
    np.testing.assert_array_equal(bundle.margins_MRN.reshape(8, -1)[4:], trainer.train_group(range(4, 8)).margins_KN)
    np.testing.assert_array_equal(hidden.margins_MRN.reshape(12, -1)[:4], trainer.train_group(range(8, 12)).margins_KN)


def test_gathered_masks_are_drawn_from_seeds(bundle: Bundle) -> None:
    np.testing.assert_array_equal(bundle.masks_Mn, draw_masks(1, 4, 1200, 0.5))
    np.testing.assert_array_equal(bundle.hidden().masks_Mn, draw_masks(int(HIDDEN_SEED, 16), 6, 1200, 0.5))


def test_manifest_describes_recipe_data_and_provenance(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert (manifest.name, manifest.version, manifest.licence) == ("digits-mlp", 1, "CC BY 4.0")
    assert (manifest.subsets, manifest.runs) == ({"public": 4, "ranking": 6}, 2)
    assert manifest.recipe["momentum"] == 0.9
    assert manifest.recipe["widths"] == [64, 128, 10]
    assert manifest.dataset["sha256"].keys() >= {"train_images", "target_labels"}
    assert {"versions", "device", "instruction_set", "threads", "seconds"} <= manifest.provenance.keys()
    assert manifest.provenance["accuracy_mean"] > 0.9


def test_hidden_seed_and_nonce_are_only_in_hidden_folder(bundle: Bundle) -> None:
    seed, nonce = int(HIDDEN_SEED, 16), bundle.hidden().nonce
    secrets = [
        HIDDEN_SEED.encode(),
        str(seed).encode(),
        nonce.hex().encode(),
        nonce,
        seed.to_bytes(16, "big"),
        seed.to_bytes(16, "little"),
    ]
    files = [path for path in bundle.folder.rglob("*") if path.is_file() and path.parent.name != "hidden"]
    assert len(files) > 10
    for path in files:
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets), path
    assert json.loads((bundle.folder / "hidden" / "hidden.json").read_text())["seed"] == HIDDEN_SEED
    for private in ("hidden", "shards"):
        assert (bundle.folder / private).stat().st_mode & 0o077 == 0
    assert (bundle.folder / "hidden" / "hidden.json").stat().st_mode & 0o077 == 0


def test_kit_is_usable_without_this_project(bundle: Bundle) -> None:
    kit = bundle.folder / "public" / "kit"
    recipe = import_file(kit / "recipe.py")
    targets = recipe.inputs(bundle.array("target_images"))
    labels = torch.from_numpy(bundle.array("target_labels"))
    margins = []
    for i in range(5):
        model = recipe.build()
        model.load_state_dict(load_file(kit / f"reference-{i}.safetensors"))
        margins.append(recipe.output(model(targets), labels).detach())
    assert all((margin > 0).double().mean() > 0.9 for margin in margins)
    assert (margins[0] - margins[1]).abs().max() > 0.1
    assert str(REFERENCE_SUBSET) in (kit / "README.md").read_text()


def test_kit_reproduces_reference_models(bundle: Bundle) -> None:
    """Train the reference models from the kit's recipe, the public arrays and the seeds that the kit's README states.

    Rounding errors may grow: of 300 models on three kinds of instruction sets, three differed by more than 3e-4 in a margin, and
    one of them by .006. If one model in a hundred differs by more than .001, then four of five models do so in fewer than one of
    ten million runs.
    """
    kit = bundle.folder / "public" / "kit"
    recipe = import_file(kit / "recipe.py")
    images, labels = bundle.array("train_images"), torch.from_numpy(bundle.array("train_labels"))
    seed = bundle.manifest.public_seed
    assert seed is not None
    targets, differences = recipe.inputs(bundle.array("target_images")), []
    for number in range(5):
        again, shipped = recipe.build(), recipe.build()
        recipe.initialise(again, np.random.default_rng([seed, REFERENCE_SUBSET, number, 1]))
        order = recipe.order(np.random.default_rng([seed, REFERENCE_SUBSET, number, 2]), np.arange(len(images)))
        recipe.train(again, recipe.inputs(images), labels, order)
        shipped.load_state_dict(load_file(kit / f"reference-{number}.safetensors"))
        differences.append((again(targets) - shipped(targets)).detach().abs().numpy())
    assert sum(difference.max() < 0.001 for difference in differences) >= 2
    assert max(np.median(difference) for difference in differences) < 0.05  # with another seed: .2 to .3


def test_kit_indices_cover_source_data(bundle: Bundle) -> None:
    kit = bundle.folder / "public" / "kit"
    index = np.concatenate([np.load(kit / f"{part}_index.npy") for part in ("train", "target")])
    np.testing.assert_array_equal(np.sort(index), np.arange(1797))


def test_open_benchmark_has_no_hidden_folder(tmp_path: Path) -> None:
    plan = replace(TINY, split="open")
    job, _ = prepare_folder(plan, tmp_path, recipes.load)
    list(job.prepare()(range(20)))
    manifest = gather(tmp_path, recipes.load)
    assert manifest.commitment is None
    assert manifest.ranking == (4, 10)
    assert manifest.subsets == {"public": 4, "ranking": 6}
    assert not (tmp_path / "hidden").exists()
    np.testing.assert_array_equal(Bundle.open(tmp_path).masks_Mn, draw_masks(1, 10, 1200, 0.5))


def test_gather_names_diverged_models(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "diverged"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("public"))
    digest = Configuration.read(folder).digest
    for shard in read_shards(folder / "shards", digest):
        for k, value in ((3, np.nan), (4, np.inf)):
            if shard.start == 8:
                shard.margins[k, 7] = value
        shard.write(folder / "shards", digest)
    with pytest.raises(ShardError, match=r"Models 11-12 in .* diverged"):
        gather(folder, recipes.load)
    assert not (folder / "public").exists()
