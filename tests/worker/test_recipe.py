"""The shipped recipes: they need nothing of this project, and their functions follow their definitions."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ldsboard.retraining.engines import ENGINES
from worker import recipes
from worker.data import DATASETS
from worker.plan import ConfigurationError, recipe_file
from worker.recipes import digits_mlp, fashion5k_mlp

if TYPE_CHECKING:
    from ldsboard.retraining.recipe import Recipe

recipe: Recipe = digits_mlp  # checked by mypy: the modules have the interface
fashion: Recipe = fashion5k_mlp


@pytest.mark.parametrize("name", recipes.names())
def test_recipe_imports_only_torch_numpy_and_standard_library(name: str) -> None:
    tree = ast.parse(recipe_file(recipes.load(name)).read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported - set(sys.stdlib_module_names) == {"numpy", "torch"}


def test_recipe_is_loaded_by_name() -> None:
    assert recipes.names() == ["cifar10-5k-convnet", "cifar10-5k-resnet9", "digits-mlp", "fashion5k-mlp"]
    assert recipes.load("digits-mlp") is recipe


@pytest.mark.parametrize("name", recipes.names())
def test_recipe_states_its_name_data_set_and_engine(name: str) -> None:
    loaded = recipes.load(name)
    assert name == loaded.NAME
    assert loaded.DATASET in DATASETS
    assert loaded.ENGINE in ENGINES
    assert loaded.GROUP >= 1


def test_unknown_recipe_name_lists_known_names() -> None:
    with pytest.raises(
        ConfigurationError, match=r"expected one of the recipes .*, digits-mlp, .*, or a path .*, got 'imagenet'"
    ):
        recipes.load("imagenet")


@pytest.mark.parametrize("name", recipes.names())
@pytest.mark.parametrize("shape", [(7,), (3, 7)])
def test_output_is_log_odds_of_class(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 5, (*shape, 10)), rng.integers(0, 10, shape)
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    own = np.take_along_axis(probability, labels[..., None], -1)[..., 0]
    output = recipes.load(name).output(torch.from_numpy(logits), torch.from_numpy(labels))
    np.testing.assert_allclose(output, np.log(own / (1 - own)), rtol=1e-9)


def test_output_of_confident_model_is_finite() -> None:
    logits = torch.zeros(1, 10)
    logits[0, 3] = 1000.0
    assert recipe.output(logits, torch.tensor([3])).item() == pytest.approx(1000 - np.log(9))


def test_initial_parameters_span_their_range() -> None:
    model = recipe.build()
    recipe.initialise(model, np.random.default_rng(0))
    for parameter, inputs in zip(model.parameters(), (64, 64, 128, 128), strict=True):
        bound = 0.3 / np.sqrt(inputs)
        assert 0.7 * bound < parameter.abs().max() <= bound


def test_order_visits_every_example_once_per_epoch() -> None:
    examples = np.arange(3, 120, 2)
    order = recipe.order(np.random.default_rng(0), examples)
    assert order.shape == (12, len(examples))
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(examples, (12, 1)))
    assert not np.array_equal(order[0], order[1])


def test_batches_include_remainder_and_learning_rate_falls_to_0() -> None:
    steps = list(recipe.batches(torch.arange(240).view(2, 120)))
    assert [len(batch) for batch, _ in steps] == [50, 50, 20] * 2
    rates = [rate for _, rate in steps]
    assert rates[0] == 0.1
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.01


def test_fashion_inputs_have_mean_0_and_variance_1() -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)
    inputs = fashion.inputs(images)
    assert (inputs.shape, inputs.dtype) == ((9, 784), torch.float32)
    np.testing.assert_allclose(inputs[3].reshape(28, 28) * 0.353 + 0.286, images[3] / 255, atol=1e-6)
    assert fashion.build()(inputs).shape == (9, 10)
