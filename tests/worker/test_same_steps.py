"""An engine that would train a recipe otherwise than the recipe's own loop is refused before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.worker.test_recipe_convnet import SMALL
from tests.worker.test_recipe_resnet9 import photographs
from tests.worker.tiny import HIDDEN_SEED, TINY
from worker import recipes
from worker.data.dataset import Dataset
from worker.plan import ConfigurationError, Plan
from worker.recipes import cifar10_5k_convnet as convnet
from worker.recipes import digits_mlp
from worker.training import Trainer, prepare_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

DATA = Dataset(photographs(80), photographs(20), {"name": "Colours", "source": "a test"}, "none", ships_images=False)


def prepare(folder: Path, engine: str) -> None:
    prepare_folder(replace(TINY, engine=engine), folder, recipes.load, HIDDEN_SEED)


def test_batched_engine_is_accepted_for_its_own_recipe(tmp_path: Path) -> None:
    prepare(tmp_path, "batched")
    assert (tmp_path / "training.json").exists()


def descend(momentum: float, decay: float, smoothing: float = 0.0) -> Callable[..., None]:
    """Return a training loop with these settings, whatever those of the recipe are; decay is part of the gradient."""

    def train(model: Any, inputs_nd: torch.Tensor, labels_n: torch.Tensor, order_Em: torch.Tensor) -> None:
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=momentum, weight_decay=decay)
        for batch, rate in digits_mlp.batches(order_Em):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                model(inputs_nd[batch]), labels_n[batch], label_smoothing=smoothing
            )
            torch.autograd.backward(loss)
            optimizer.step()

    return train


@pytest.mark.parametrize(
    "train",
    [descend(0.5, 0.0), descend(0.9, 0.01), descend(0.9, 0.0, 0.1)],
    ids=["another momentum", "coupled weight decay", "label smoothing"],
)
def test_batched_engine_is_refused_for_a_loop_that_does_something_else(
    train: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits_mlp, "train", train)
    with pytest.raises(
        ConfigurationError, match=r"after the first steps.* differ by [\d.]+% .*Use --engine sequential\."
    ):
        prepare(tmp_path / "batched", "batched")
    assert not (tmp_path / "batched").exists()
    prepare(tmp_path / "sequential", "sequential")


def small(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    monkeypatch.setattr(convnet, "SETTINGS", SMALL)
    plan = Plan(convnet.NAME, split="open", public=4, ranking=4, group=2, engine="vmapped")
    return Trainer(plan, convnet, DATA, None)


def test_vmapped_engine_is_refused_if_its_functions_differ_from_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = small(monkeypatch)
    trainer.require_same_steps()
    monkeypatch.setattr(convnet, "optimizer", lambda parameters: torch.optim.SGD(parameters, 0.03, momentum=0.8))
    own_loop = trainer.recipe.train

    def loop(*arguments: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(convnet, "optimizer", lambda parameters: torch.optim.SGD(parameters, 0.03, momentum=0.9))
            own_loop(*arguments)

    monkeypatch.setattr(convnet, "train", loop)
    with pytest.raises(ConfigurationError, match="The vmapped engine does not train cifar10-5k-convnet as"):
        trainer.require_same_steps()


def test_batched_engine_is_refused_for_a_recipe_that_augments(
    worker: Callable[..., CompletedProcess[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits_mlp, "visits", lambda _rng, order_Em: order_Em[..., None], raising=False)
    done = worker("train", "digits-mlp", "--out", tmp_path / "out", "--engine", "batched")
    assert done.returncode == 2
    assert "The batched engine augments no examples, as digits-mlp does." in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()
