"""The vmapped engine trains the same models as the sequential engine: a narrow ResNet-9 on photographs of two colours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch.nn import functional

from ldsboard.retraining.engines import ENGINES
from ldsboard.retraining.recipe import Stackable
from tests.worker.test_recipe_resnet9 import SMALL, photographs
from worker.data.dataset import Dataset
from worker.plan import Plan
from worker.recipes import cifar10_5k_resnet9, digits_mlp
from worker.training import Trainer

stackable: Stackable = cifar10_5k_resnet9  # checked by mypy: the module has the interface
DATA = Dataset(photographs(80), photographs(40), {"name": "Colours", "source": "a test"}, "none", ships_images=False)


def trainer(engine: str, monkeypatch: pytest.MonkeyPatch, **settings: float) -> Trainer:
    monkeypatch.setattr(cifar10_5k_resnet9, "SETTINGS", replace(SMALL, **cast("Any", settings)))
    plan = Plan("cifar10-5k-resnet9", split="open", public=12, ranking=4, group=3, engine=engine)
    return Trainer(plan, cifar10_5k_resnet9, DATA, None)


def states(engine: str, monkeypatch: pytest.MonkeyPatch, steps: int) -> list[dict[str, torch.Tensor]]:
    """Train three models for a few steps in float64, except for the loss; return parameters and running averages."""
    training = trainer(engine, monkeypatch, epochs=1, batch_size=16)
    seeds = [(1, subset, 0) for subset in range(3)]
    examples = [np.flatnonzero(mask)[: 16 * steps] for mask in training.masks["public"][:3]]
    models, order = training.initialise_models(seeds, examples)
    models = [model.double() for model in models]
    ENGINES[engine](cifar10_5k_resnet9, models, training.inputs_nd.double(), training.labels_n, order)
    return [model.state_dict() for model in models]


@pytest.mark.parametrize("steps", [1, 2])
def test_first_steps_give_same_parameters_and_running_averages(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    pairs = zip(states("vmapped", monkeypatch, steps), states("sequential", monkeypatch, steps), strict=True)
    for found, expected in pairs:
        assert found["0.1.num_batches_tracked"].item() == steps
        for name, values in expected.items():
            torch.testing.assert_close(found[name].contiguous(), values.contiguous(), rtol=1e-5, atol=1e-6, msg=name)


def test_first_steps_give_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    losses: dict[str, list[torch.Tensor]] = {"vmapped": [], "sequential": []}
    loss = cifar10_5k_resnet9.loss
    for engine, recorded in losses.items():

        def recording_loss(*arguments: Any, recorded: list[torch.Tensor] = recorded) -> torch.Tensor:
            value = loss(*arguments)
            recorded.append(value)
            return value

        monkeypatch.setattr(cifar10_5k_resnet9, "loss", recording_loss)
        states(engine, monkeypatch, 2)
    assert len(losses["sequential"]) == 6
    sequential = torch.stack(losses["sequential"]).detach().view(3, 2)
    # The losses recorded inside vmap are wrapped tensors, so unwrap them.
    vmapped = torch.stack([torch._C._functorch.get_unwrapped(each) for each in losses["vmapped"]], 1).detach()
    torch.testing.assert_close(vmapped, sequential, rtol=1e-5, atol=1e-6)


def test_margins_after_training_in_float64_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, rounding errors of such small models grow to the size of the margins within a few epochs."""

    def loss(model: Any, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(model(images), labels)

    monkeypatch.setattr(cifar10_5k_resnet9, "loss", loss)
    margins = []
    for engine in ("vmapped", "sequential"):
        training = trainer(engine, monkeypatch, epochs=6, batch_size=8, learning_rate=0.1)
        models, order = training.initialise_models([(1, 0, 0), (1, 1, 0)], [np.arange(40), np.arange(30, 70)])
        models = [model.double() for model in models]
        ENGINES[engine](cifar10_5k_resnet9, models, training.inputs_nd.double(), training.labels_n, order)
        training.target_inputs = training.target_inputs.double()
        margins.append(training.evaluate(models).margins_KN)
    assert margins[1].std() > 1
    np.testing.assert_allclose(margins[0], margins[1], rtol=0, atol=1e-6)


def test_vmapped_engine_rejects_recipe_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    training = trainer("vmapped", monkeypatch)
    assert not isinstance(digits_mlp, Stackable)
    training.recipe = digits_mlp
    with pytest.raises(TypeError, match="functions altered, loss and optimizer, which the recipe digits-mlp lacks"):
        ENGINES["vmapped"](digits_mlp, [], training.inputs_nd, training.labels_n, torch.zeros(1, 1, 1))
