"""The benchmarks that ship with the project are whole, can be published, and are what their recipe and seed make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard.bundle import Bundle
from ldsboard.subsets import draw_masks
from tests.app.benchmarks import publish
from tests.worker.tiny import ROOT
from worker import recipes
from worker.baselines.material import Material
from worker.data import Dataset, Part, fashion
from worker.plan import Plan
from worker.training import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from app.db.sessions import Database

SHIPPED = sorted((ROOT / "benchmarks").iterdir())


@pytest.fixture(params=SHIPPED, ids=lambda folder: str(folder.name))
def bundle(request: pytest.FixtureRequest) -> Bundle:
    folder: Path = request.param
    return Bundle.open(folder)


def test_fashion_is_among_them() -> None:
    assert "fashion5k-mlp" in [folder.name for folder in SHIPPED]


def test_their_classes_have_names(bundle: Bundle) -> None:
    classes = bundle.manifest.dataset["classes"]
    assert set(bundle.array("train_labels")) == set(range(len(classes)))
    assert (bundle.folder.name, tuple(classes)) == ("fashion5k-mlp", fashion.CLASSES)


def test_nothing_of_them_is_hidden(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert (manifest.name, manifest.split, manifest.commitment) == (bundle.folder.name, "open", None)
    assert not (bundle.folder / "hidden").exists()
    assert {path.name for path in bundle.folder.iterdir()} == {"LICENSE", "public"}
    there = {path.relative_to(bundle.folder / "public").as_posix() for path in bundle.folder.rglob("public/**/*.*")}
    assert there == {*manifest.files, "benchmark.json"}


def test_their_subsets_are_those_of_their_seed(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.public_seed is not None
    drawn_Mn = draw_masks(manifest.public_seed, len(bundle.masks_Mn), manifest.n_train, manifest.alpha)
    np.testing.assert_array_equal(bundle.masks_Mn, drawn_Mn)


def test_their_recipe_and_seed_make_their_models(bundle: Bundle) -> None:
    manifest, made = bundle.manifest, bundle.manifest.provenance
    recipe = recipes.load(manifest.name)
    kit = bundle.folder / "public" / "kit"

    def part(name: str) -> Part:
        return Part(bundle.array(f"{name}_images"), bundle.array(f"{name}_labels"), np.load(kit / f"{name}_index.npy"))

    data = Dataset(part("train"), part("target"), manifest.dataset, manifest.licence)
    assert data.digests == manifest.dataset["sha256"]
    assert manifest.public_seed is not None
    plan = Plan(manifest.name, split="open", group=made["models_at_once"], public_seed=manifest.public_seed)
    found = Trainer(plan, recipe, data, None).train_group(range(plan.group))
    shipped_KN = bundle.margins_MRN.reshape(-1, manifest.n_targets)[: plan.group]
    # The same bytes only on one kind of processor. Between AVX2 and no vectors at all they differ by 7e-6; their spread is 4.
    np.testing.assert_allclose(found.margins_KN, shipped_KN, atol=1e-3)
    assert abs(found.accuracy_K.mean() - made["accuracy_mean"]) < 0.02


def test_their_reference_models_know_their_targets(bundle: Bundle) -> None:
    material = Material.open(bundle.folder)
    assert len(material.models) == 5
    for model in material.models:
        right = model(material.target.inputs).argmax(1) == material.target.labels
        # All examples teach more than half of them.
        assert float(right.double().mean()) > bundle.manifest.provenance["accuracy_mean"]


def test_they_are_published_as_practice_boards(bundle: Bundle, database: Database, tmp_path: Path) -> None:
    version = publish(database, tmp_path / "published", bundle.folder)
    assert tuple(version.manifest["ranking"]) == (200, 1000)
    assert version.manifest["ceiling"] == pytest.approx(0.93, abs=0.01)
