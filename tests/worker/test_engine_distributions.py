"""All engines train models from the same distribution, in float32, where different processors give different models.

Rounding errors may grow until a model is a different one, so these tests compare distributions of figures over two samples of
models. Each model has its own subset, initialisation and order, drawn from its own seed, and no seed is in both samples. If the
engines are equivalent, every split of the models into two samples is equally likely on any processor. The exact Mann-Whitney test
therefore has its nominal false alarm rate, Bonferroni-corrected for all figures compared here.

Legend: K models of a sample, N targets, s figures of a model.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from tests.worker.test_engine_vmapped import DATA
from tests.worker.test_recipe_resnet9 import SMALL
from worker.data import digits
from worker.plan import Plan
from worker.recipes import cifar10_5k_resnet9, digits_mlp
from worker.training import Margins, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from ldsboard.retraining.recipe import Recipe
    from worker.data import Dataset

pytestmark = pytest.mark.slow

FALSE_ALARM = 1e-6
"""The probability that any comparison of this file fails although all engines are equivalent, for any seeds and processor."""

FIGURES = 5
PAIRS = (("batched", "digits"), ("vmapped", "digits"), ("vmapped", "photographs"))


def altered(inputs_nd: torch.Tensor, examples_B: torch.Tensor) -> torch.Tensor:
    return inputs_nd[examples_B]


def loss(
    model: Callable[[torch.Tensor], torch.Tensor], inputs_Bd: torch.Tensor, labels_B: torch.Tensor
) -> torch.Tensor:
    return functional.cross_entropy(model(inputs_Bd), labels_B)


def optimizer(parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, digits_mlp.SETTINGS.learning_rate, momentum=digits_mlp.SETTINGS.momentum)


class Contest:
    """A recipe with its data set and the number K of models in a sample."""

    def __init__(self, recipe: object, data: Dataset, K: int) -> None:
        self.recipe, self.data, self.K = cast("Recipe", recipe), data, K

    def figures(self, engine: str, sample: int) -> NDArray[np.float64]:
        """Return the mean, 5 %, 50 % and 95 % margin over targets, and the mean loss, of the models of a sample: (K, s)."""
        plan = Plan(self.recipe.NAME, split="open", public=2 * self.K, ranking=4, group=self.K, engine=engine)
        # Only the first run of each subset, since two runs of one subset are not independent.
        numbers = [2 * subset for subset in range(sample * self.K, (sample + 1) * self.K)]
        found: Margins = Trainer(plan, self.recipe, self.data, None).train_group(numbers)
        low_K, middle_K, high_K = np.quantile(found.margins_KN, (0.05, 0.5, 0.95), axis=1)
        figures_Ks = np.column_stack([found.margins_KN.mean(axis=1), low_K, middle_K, high_K, found.loss_K])
        assert figures_Ks.shape == (self.K, FIGURES)
        return figures_Ks


def corrected_p_value(one_Ks: NDArray[np.float64], other_Ks: NDArray[np.float64]) -> float:
    """Return the smallest p-value of all figures, times the number of all compared figures (Bonferroni)."""
    assert np.isfinite(one_Ks).all()
    assert np.isfinite(other_Ks).all()
    columns = zip(one_Ks.T, other_Ks.T, strict=True)
    p_s = [float(stats.mannwhitneyu(one_K, other_K, method="exact").pvalue) for one_K, other_K in columns]
    return min(p_s) * FIGURES * len(PAIRS)


@pytest.fixture
def contest(data: str, monkeypatch: pytest.MonkeyPatch) -> Contest:
    if data == "photographs":
        settings = cast("Any", {"epochs": 6, "batch_size": 8, "learning_rate": 0.1})
        monkeypatch.setattr(cifar10_5k_resnet9, "SETTINGS", replace(SMALL, **settings))
        return Contest(cifar10_5k_resnet9, DATA, K=20)
    # Add the functions that the vmapped engine requires; it supports weight decay only through the optimizer.
    monkeypatch.setattr(digits_mlp, "SETTINGS", replace(digits_mlp.SETTINGS, epochs=6, weight_decay=0.0))
    parts = {"altered": altered, "loss": loss, "optimizer": optimizer}
    return Contest(SimpleNamespace(**vars(digits_mlp) | parts), digits(), K=20)


@pytest.mark.parametrize(("engine", "data"), PAIRS)
def test_engine_gives_same_distribution_of_margins(engine: str, contest: Contest) -> None:
    assert corrected_p_value(contest.figures("sequential", 0), contest.figures(engine, 1)) > FALSE_ALARM


@pytest.mark.parametrize(
    ("engine", "data", "share"), [(*pair, share) for pair, share in zip(PAIRS, (0.8, 0.8, 0.25), strict=True)]
)
def test_comparison_detects_lower_learning_rate(
    engine: str, data: str, share: float, contest: Contest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the learning rate multiplied by `share`, the two samples differ significantly."""
    expected_Ks = contest.figures("sequential", 0)
    recipe = cifar10_5k_resnet9 if data == "photographs" else digits_mlp
    slower = replace(recipe.SETTINGS, learning_rate=share * recipe.SETTINGS.learning_rate)
    monkeypatch.setattr(recipe, "SETTINGS", slower)
    assert corrected_p_value(expected_Ks, contest.figures(engine, 1)) < FALSE_ALARM
