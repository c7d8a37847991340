"""Counterfactual evaluations on the real digits: against plain retraining, interrupted, in processes, and as commands."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from ldsboard.bundle import Bundle
from ldsboard.counterfactual.plan import Plan
from ldsboard.counterfactual.removals import CONTROLS, OPPONENTS, PROPONENTS, Removals, draw_controls
from ldsboard.manifest import BundleError
from ldsboard.retraining.evaluation import Evaluation
from ldsboard.retraining.kit import Kit
from ldsboard.retraining.parts import EVERYTHING
from ldsboard.retraining.recipe_file import load_recipe
from ldsboard.retraining.retrainer import Removal, Retrainer
from ldsboard.retraining.trainer import REFERENCE_SUBSET, Examples
from tests.worker.tiny import ROOT
from worker.baselines.material import Material

if TYPE_CHECKING:
    from pathlib import Path

PLAN = Plan(targets=(3, 200, 596), sizes=(12, 60), headline=12, runs=2)


@pytest.fixture(scope="module")
def kit(pulled: Path) -> Kit:
    return Kit.of(Bundle.open(pulled))


@pytest.fixture(scope="module")
def scores_nN() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(1200, 597)).astype(np.float32)


@pytest.fixture(scope="module")
def removals(scores_nN: np.ndarray[Any, Any]) -> Removals:
    return Removals.of(scores_nN, PLAN)


@pytest.fixture(scope="module")
def one_by_one(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """The kit with a recipe that trains one model after the other, with the recipe's own loop."""
    text = kit.recipe.read_text()
    changed = text.replace('ENGINE, GROUP = "batched", ', 'ENGINE, GROUP = "sequential", 1  # ')
    assert changed != text
    path = tmp_path_factory.mktemp("recipe") / "recipe.py"
    path.write_text(changed)
    return Kit(kit.benchmark, path, kit.train, kit.target, kit.seed)


@pytest.fixture(scope="module")
def undisturbed(kit: Kit, removals: Removals, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    evaluation = Evaluation(kit, PLAN, removals, tmp_path_factory.mktemp("undisturbed"))
    assert sum(evaluation.train(evaluation.missing())) == sum(map(evaluation.models, evaluation.parts))
    return evaluation


def plain_logits(kit: Kit, run: int, removed: set[int]) -> torch.Tensor:
    """Train one model without some examples, and return its logits on all targets, (N, C)."""
    recipe = load_recipe(kit.recipe)
    model = recipe.build()
    recipe.initialise(model, np.random.default_rng([kit.seed, REFERENCE_SUBSET, run, 1]))
    order_En = recipe.order(np.random.default_rng([kit.seed, REFERENCE_SUBSET, run, 2]), np.arange(1200))
    kept = [[example for example in epoch if example not in removed] for epoch in order_En.tolist()]
    labels = torch.from_numpy(kit.train.labels)
    recipe.train(model, recipe.inputs(kit.train.images), labels, torch.tensor(kept))
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(recipe.inputs(kit.target.images))
    return logits


def test_falls_equal_those_of_plain_retraining(
    one_by_one: Kit, scores_nN: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    """Margins, predictions, and the losses as bergson compares them: mean loss without the examples, minus that with them."""
    plan = Plan(targets=(3, 596), sizes=(12,), headline=12, runs=2)
    evaluation = Evaluation(one_by_one, plan, Removals.of(scores_nN, plan), tmp_path)
    assert sum(evaluation.train(evaluation.missing())) == 2 + 2 * CONTROLS + 2 * 2 * 2
    result = evaluation.result()
    labels = torch.from_numpy(one_by_one.target.labels)
    output = load_recipe(one_by_one.recipe).output
    before = [plain_logits(one_by_one, run, set()) for run in range(2)]
    control = [
        plain_logits(one_by_one, run, set(drawn)) for drawn in draw_controls(1, 12, 1200).tolist() for run in range(2)
    ]
    for direction, sign in ((PROPONENTS, -1), (OPPONENTS, 1)):
        falls, losses_with, losses_without = result.falls[direction, 12], [], []
        for row, t in enumerate(plan.targets):
            removed = set(np.argsort(sign * scores_nN[:, t], kind="stable")[:12].tolist())
            pairs = [(before[run], plain_logits(one_by_one, run, removed)) for run in range(2)]
            falls_RN = torch.stack([output(b, labels) - output(a, labels) for b, a in pairs])
            assert falls.margin[row] == pytest.approx(float(falls_RN[:, t].mean()), abs=1e-6)
            same = [i for i in range(597) if labels[i] == labels[t] and i != t]
            assert falls.others[row] == pytest.approx(float(falls_RN[:, same].double().mean()), abs=1e-6)
            right = [(int(b[t].argmax() == labels[t]), int(a[t].argmax() == labels[t])) for b, a in pairs]
            assert falls.flipped[row] == np.mean([with_them - without for with_them, without in right])
            random = [float((output(before[i % 2], labels) - output(c, labels))[t]) for i, c in enumerate(control)]
            assert falls.control[row] == pytest.approx(np.mean(random), abs=1e-6)
            losses_with += [float(functional.cross_entropy(b[t : t + 1], labels[t : t + 1])) for b, _ in pairs]
            losses_without += [float(functional.cross_entropy(a[t : t + 1], labels[t : t + 1])) for _, a in pairs]
        assert falls.loss.mean() == pytest.approx(np.mean(losses_without) - np.mean(losses_with), abs=1e-6)


def test_groups_give_the_models_of_plain_retraining(undisturbed: Evaluation, one_by_one: Kit) -> None:
    """Rounding grows in training: the reference models of the kit differ as far from the same models, trained one by one."""
    result, kit = undisturbed.result(), one_by_one
    labels, output = torch.from_numpy(kit.target.labels), load_recipe(kit.recipe).output
    removed = undisturbed.removals.examples[PROPONENTS]
    for row, t in enumerate(PLAN.targets):
        falls = [
            float(output(plain_logits(kit, run, set()), labels)[t])
            - float(output(plain_logits(kit, run, set(removed[row].tolist())), labels)[t])
            for run in range(2)
        ]
        assert result.falls[PROPONENTS, 60].margin[row] == pytest.approx(np.mean(falls), abs=0.01)


def test_models_on_everything_are_the_reference_models(pulled: Path, undisturbed: Evaluation) -> None:
    material = Material.open(pulled)
    part = undisturbed.parts[0]
    assert part.kind == EVERYTHING
    with np.load(undisturbed.path(part)) as arrays, torch.no_grad():
        for run, model in enumerate(material.models[: PLAN.runs]):
            margins = material.recipe.output(model(material.target.inputs), material.target.labels)
            np.testing.assert_allclose(arrays["margins"][run], margins, atol=0.01)


@pytest.mark.parametrize("count", [1, 2])
def test_interrupted_evaluation_goes_on_with_the_same_bits(
    undisturbed: Evaluation, kit: Kit, removals: Removals, tmp_path: Path, count: int
) -> None:
    begun = Evaluation(kit, PLAN, removals, tmp_path)
    half = begun.train(begun.missing()[:5])
    next(half), next(half)  # the second part is trained, but not written
    half.close()
    again = Evaluation(kit, PLAN, removals, tmp_path)
    missing = again.missing()
    assert len(missing) == len(again.parts) - 1
    assert sum(again.train(missing, count)) == sum(map(again.models, missing))
    expected, found = undisturbed.result(), again.result()
    for key, falls in expected.falls.items():
        for name, values in falls._asdict().items():
            np.testing.assert_array_equal(getattr(found.falls[key], name), values, err_msg=f"{key} {name}")
    assert found.marks == expected.marks


def test_second_score_file_shares_models_that_need_no_scores(
    undisturbed: Evaluation, scores_nN: np.ndarray[Any, Any]
) -> None:
    other = Evaluation(undisturbed.kit, PLAN, Removals.of(-scores_nN, PLAN), undisturbed.folder)
    assert all(not part.is_shared for part in other.missing())
    assert len(other.missing()) == len([part for part in other.parts if not part.is_shared])
    more = Plan((3, 200, 400, 596), PLAN.sizes, PLAN.headline, PLAN.runs)
    wider = Evaluation(undisturbed.kit, more, Removals.of(scores_nN, more), undisturbed.folder)
    assert all(not part.is_shared for part in wider.missing())


def test_visits_of_augmented_recipe_lack_only_removed_examples() -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, 60)
    examples = Examples(images, labels)
    recipe = ROOT / "worker" / "recipes" / "cifar10_5k_convnet.py"
    retrainer = Retrainer(Kit("toy", recipe, examples, examples, 1), 2)
    whole, removed = retrainer.visits_without(Removal(1, np.array([], dtype=np.int64))), np.array([7, 50])
    left = retrainer.visits_without(Removal(1, removed))
    assert left.shape == (whole.shape[0], 58, 2)
    for epoch in range(len(whole)):
        assert left[epoch].tolist() == [visit for visit in whole[epoch].tolist() if visit[0] not in removed]
    assert whole[..., 1].float().mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("count", [1, 2])
def test_recipe_that_cannot_train_on_so_many_examples_is_named(
    kit: Kit, removals: Removals, tmp_path: Path, count: int
) -> None:
    path = tmp_path / "recipe.py"
    text = kit.recipe.read_text() + (
        "\n_batches = batches\n\n\ndef batches(order_Em):\n    if order_Em.shape[-1] % 100:\n"
        "        raise ValueError('expected hundreds of examples')\n    yield from _batches(order_Em)\n"
    )
    path.write_text(text)
    evaluation = Evaluation(Kit(kit.benchmark, path, kit.train, kit.target, kit.seed), PLAN, removals, tmp_path)
    with pytest.raises(BundleError, match="digits-mlp cannot train on 1188 examples: expected hundreds of examples"):
        list(evaluation.train(evaluation.missing(), count))


def test_diverged_model_is_an_error_and_no_number(kit: Kit, removals: Removals, tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    text = kit.recipe.read_text()
    path.write_text(text.replace("learning_rate: float = ", "learning_rate: float = 1e30 * "))
    assert path.read_text() != text
    evaluation = Evaluation(Kit(kit.benchmark, path, kit.train, kit.target, kit.seed), PLAN, removals, tmp_path)
    with pytest.raises(BundleError, match="digits-mlp trained on all examples has margins that are not finite"):
        list(evaluation.train(evaluation.missing()))


def test_damaged_part_is_named(undisturbed: Evaluation, kit: Kit, removals: Removals, tmp_path: Path) -> None:
    shutil.copytree(undisturbed.folder, tmp_path, dirs_exist_ok=True)
    evaluation = Evaluation(kit, PLAN, removals, tmp_path)
    path = evaluation.path(evaluation.parts[-1])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BundleError, match=rf"{path.name} is damaged\. Delete the file and repeat"):
        evaluation.result()


def test_benchmark_without_images_or_recipe_is_refused(pulled: Path, tmp_path: Path) -> None:
    shutil.copytree(pulled, tmp_path, dirs_exist_ok=True)
    manifest = tmp_path / "public" / "benchmark.json"
    members = json.loads(manifest.read_text())
    for name in ("train_images.npy", "target_images.npy"):
        del members["files"][name]
        (tmp_path / "public" / name).unlink()
    manifest.write_text(json.dumps(members))
    with pytest.raises(BundleError, match=r"digits-mlp ships no images\. Add --images"):
        Kit.of(Bundle.open(tmp_path))
    del members["files"]["kit/recipe.py"]
    manifest.write_text(json.dumps(members))
    with pytest.raises(BundleError, match="digits-mlp has no recipe, because its ground truth was imported"):
        Kit.of(Bundle.open(tmp_path))


def test_parts_of_other_models_are_in_another_folder(
    kit: Kit, one_by_one: Kit, removals: Removals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folders(kit: Kit = kit, plan: Plan = PLAN) -> set[Path]:
        evaluation = Evaluation(kit, plan, removals, tmp_path)
        return {evaluation.path(part).parent for part in evaluation.parts}

    found = folders()
    assert len(found) == 2  # what all score files share, and the rest
    images = Examples(255 - kit.target.images, kit.target.labels)
    for other in (
        folders(one_by_one),
        folders(Kit(kit.benchmark, kit.recipe, kit.train, kit.target, 2)),
        folders(Kit(kit.benchmark, kit.recipe, kit.train, images, kit.seed)),
        folders(plan=Plan(PLAN.targets, PLAN.sizes, PLAN.headline, 3)),
    ):
        assert not found & other
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert not found & folders()
    monkeypatch.undo()
    monkeypatch.setattr("ldsboard.retraining.evaluation.CODE_VERSION", 2)
    assert not found & folders()


def test_recipe_that_repeats_examples_within_an_epoch_is_refused(kit: Kit, removals: Removals, tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    path.write_text(
        kit.recipe.read_text()
        + "\n_order = order\n\n\ndef order(rng, examples):\n    return _order(rng, examples)[:, :1] + 0 * _order(rng, examples)\n"
    )
    evaluation = Evaluation(Kit(kit.benchmark, path, kit.train, kit.target, kit.seed), PLAN, removals, tmp_path)
    with pytest.raises(BundleError, match="does not visit each example once in each epoch"):
        list(evaluation.train(evaluation.missing()))
