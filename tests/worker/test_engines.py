"""The batched engine trains the same models as the sequential engine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from ldsboard.retraining.engines import ENGINES, engines_for
from ldsboard.subsets import INITIALISATION, ORDER, generator
from tests.worker.tiny import TINY
from worker.data import digits
from worker.recipes import digits_mlp
from worker.training import Margins, Trainer

if TYPE_CHECKING:
    from collections.abc import Sequence


def initialised(count: int) -> list[nn.Module]:
    models: list[nn.Module] = [digits_mlp.build() for _ in range(count)]
    for i, model in enumerate(models):
        digits_mlp.initialise(model, generator(7, i, 0, INITIALISATION))
    return models


def parameters(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("examples", [150, 120])
def test_batched_engine_takes_same_first_steps(trainer: Trainer, examples: int) -> None:
    subset = np.arange(examples)  # 120 examples give a smaller last batch
    order_KEm = torch.stack([digits_mlp.order(generator(7, i, 0, ORDER), subset)[:2] for i in range(3)])
    trained = {}
    for name in engines_for(digits_mlp):
        trained[name] = initialised(3)
        ENGINES[name](digits_mlp, trained[name], trainer.inputs_nd, trainer.labels_n, order_KEm)
    for one, other, start in zip(trained["batched"], trained["sequential"], initialised(3), strict=True):
        torch.testing.assert_close(parameters(one), parameters(other), rtol=1e-4, atol=1e-6)
        assert (parameters(one) - parameters(start)).abs().max() > 0.01


def train_in_float64(engine: str, numbers: Sequence[int]) -> Margins:
    """Train some models completely in float64, where rounding errors stay small; in float32 they may grow."""
    training = Trainer(replace(TINY, engine=engine, split="open"), digits_mlp, digits(), None)
    models, order_KEm = training.initialise_models(*training.seeds_and_subsets(numbers))
    models = [model.double() for model in models]
    ENGINES[engine](digits_mlp, models, training.inputs_nd.double(), training.labels_n, order_KEm)
    training.target_inputs = training.target_inputs.double()
    return training.evaluate(models)


def test_batched_engine_gives_same_margins_after_training() -> None:
    batched, reference = train_in_float64("batched", range(4)), train_in_float64("sequential", range(4))
    np.testing.assert_allclose(batched.margins_KN, reference.margins_KN, rtol=0, atol=1e-5)
    np.testing.assert_allclose(batched.loss_K, reference.loss_K, rtol=0, atol=1e-9)
    assert min(batched.accuracy_K) > 0.9


def test_model_does_not_depend_on_other_models_of_its_group() -> None:
    alone, together = train_in_float64("batched", [5]), train_in_float64("batched", range(4, 8))
    np.testing.assert_allclose(alone.margins_KN[0], together.margins_KN[1], rtol=0, atol=1e-5)


def test_batched_engine_trains_perceptrons_of_any_depth(trainer: Trainer) -> None:
    def build() -> list[nn.Module]:
        torch.manual_seed(0)
        layers = [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10)]
        return [nn.Sequential(*layers)]

    order_KEm = digits_mlp.order(generator(7, 0, 0, ORDER), np.arange(150))[None, :1]
    trained = {}
    for name in engines_for(digits_mlp):
        trained[name] = build()
        ENGINES[name](digits_mlp, trained[name], trainer.inputs_nd, trainer.labels_n, order_KEm)
    torch.testing.assert_close(parameters(trained["batched"][0]), parameters(trained["sequential"][0]))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(64, 10), nn.Tanh()),
        nn.Sequential(nn.Linear(64, 10), nn.ReLU()),
        nn.Sequential(nn.Linear(64, 10, bias=False)),
        nn.Linear(64, 10),
    ],
)
def test_batched_engine_rejects_other_models(trainer: Trainer, model: nn.Module) -> None:
    with pytest.raises(TypeError, match="Train this model with the sequential engine"):
        ENGINES["batched"](digits_mlp, [model], trainer.inputs_nd, trainer.labels_n, torch.zeros(1, 1, 50).long())
