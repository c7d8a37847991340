"""The CIFAR-10 recipe of the small convolutional network: model, visits, learning rate, training, and its kit."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from ldsboard.retraining.engines import ENGINES
from ldsboard.retraining.trainer import REFERENCE_SUBSET
from ldsboard.subsets import AUGMENTATION, INITIALISATION, ORDER, generator
from tests.worker.test_recipe_resnet9 import photographs
from tests.worker.tiny import import_file
from worker.data.dataset import Dataset
from worker.kit import write_kit
from worker.plan import Plan
from worker.recipes import cifar10_5k_convnet as convnet
from worker.training import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from ldsboard.retraining.recipe import Augmenting, Recipe, Stackable

recipe: Recipe = convnet  # checked by mypy: the module has these interfaces
augmenting: Augmenting = convnet
stackable: Stackable = convnet

LAST = (0.0610667, 0.0301944, 0.0036766, -0.0468240, -0.0023706, 0.0254906, 0.0143710, -0.0162449)
CHANGE = (0.0030852, 0.0005726, 0.0072543, 0.0017221, 0.0130350, 0.0048821, 0.0312545, 0.0104565)
"""Of every parameter array after one step: its last number, and the length of its change."""

SMALL = replace(convnet.SETTINGS, widths=(4, 6, 8), epochs=2, batch_size=16)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """A trainer of the recipe with narrow layers and few epochs, on few photographs."""
    monkeypatch.setattr(convnet, "SETTINGS", SMALL)
    data = Dataset(
        photographs(80), photographs(20), {"name": "Colours", "source": "a test"}, "none", ships_images=False
    )
    plan = Plan(convnet.NAME, split="open", public=4, ranking=4, group=2, engine="sequential")
    return Trainer(plan, recipe, data, None)


def test_inputs_have_channels_first_with_mean_0_and_variance_1() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    inputs = recipe.inputs(images)
    assert (inputs.shape, inputs.dtype) == ((3, 3, 32, 32), torch.float32)
    np.testing.assert_allclose(inputs[1, 2, 5, 9] * 0.2616 + 0.4465, images[1, 5, 9, 2] / 255, atol=1e-6)


def test_model_pools_after_the_second_and_third_convolution() -> None:
    model = recipe.build()
    recipe.initialise(model, np.random.default_rng(0))
    images = torch.randn(4, 3, 32, 32)
    c1, c2, c3 = (layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
    (linear,) = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
    assert [tuple(c.weight.shape) for c in (c1, c2, c3)] == [(16, 3, 3, 3), (32, 16, 3, 3), (64, 32, 3, 3)]
    first = functional.conv2d(images, c1.weight, c1.bias, stride=2, padding=1).relu()
    second = functional.max_pool2d(functional.conv2d(first, c2.weight, c2.bias, padding=1).relu(), 2)
    third = functional.max_pool2d(functional.conv2d(second, c3.weight, c3.bias, padding=1).relu(), 2)
    torch.testing.assert_close(model(images), linear(third.flatten(1)))


def test_initial_weights_span_their_range_and_depend_on_generator_only() -> None:
    model, again = recipe.build(), recipe.build()
    recipe.initialise(model, np.random.default_rng(0))
    recipe.initialise(again, np.random.default_rng(0))
    for layer, same in zip(model.modules(), again.modules(), strict=True):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert torch.equal(layer.weight, same.weight)  # type: ignore[arg-type]
            bound = 1 / np.sqrt(layer.weight[0].numel())
            assert 0.95 * bound < layer.weight.abs().max() <= bound
            assert layer.bias is not None
            assert 0.5 * bound < layer.bias.abs().max() <= bound


def test_visits_keep_order_and_flip_half_of_the_images() -> None:
    order = recipe.order(np.random.default_rng(0), np.arange(500))
    visits = augmenting.visits(np.random.default_rng(1), order)
    assert visits.shape == (16, 500, 2)
    torch.testing.assert_close(visits[..., 0], order, rtol=0, atol=0)
    assert visits[..., 1].double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert sorted(order[3].tolist()) == list(range(500))


def test_batches_visit_every_example_and_learning_rate_is_triangular() -> None:
    steps = list(recipe.batches(torch.zeros(16, 2480, 2).long()))
    assert [len(batch) for batch, _ in steps] == [*[50] * 49, 30] * 16
    rates = np.array([rate for _, rate in steps])
    assert rates.argmax() == 159  # the last step of the first fifth
    assert rates.max() == 0.03
    np.testing.assert_allclose(np.diff(rates[:160]), 0.03 / 160)
    np.testing.assert_allclose(np.diff(rates[159:]), -0.03 / 641)
    assert rates.min() > 0


def test_batches_keep_leading_axes_of_visits() -> None:
    batches = [batch.shape for batch, _ in recipe.batches(torch.zeros(3, 16, 70, 2).long())]
    assert batches[:2] == [(3, 50, 2), (3, 20, 2)]


def train_plainly(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, visits: torch.Tensor) -> None:
    """Train a model with a loop that states each step in the plainest form, without an optimizer."""
    velocity = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for batch, rate in convnet.batches(visits):
        images = torch.stack([inputs[i].flip(2) if flip else inputs[i] for i, flip in batch.tolist()])
        value = functional.cross_entropy(model(images), labels[batch[:, 0]])
        slopes = torch.autograd.grad(value, list(model.parameters()))
        with torch.no_grad():
            for parameter, slope, moving in zip(model.parameters(), slopes, velocity, strict=True):
                moving.mul_(0.9).add_(slope + 0.01 * parameter)
                parameter.sub_(rate * moving)


def trained(train: Any, trainer: Trainer) -> torch.Tensor:
    """Return the parameters of a model after training in float64."""
    (model,), visits = trainer.initialise_models([(1, 0, 0)], [np.arange(40)])
    train(model.double(), trainer.inputs_nd.double(), trainer.labels_n, visits[0])
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_one_step_from_the_seeds_gives_the_same_parameters_on_every_processor() -> None:
    """The values were computed with AVX-512; on other processors, one step differs by rounding only."""
    images = photographs(60)
    model = recipe.build()
    recipe.initialise(model, generator(1, 0, 0, INITIALISATION))
    order = recipe.order(generator(1, 0, 0, ORDER), np.arange(50))[:1]
    visits = augmenting.visits(generator(1, 0, 0, AUGMENTATION), order)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    recipe.train(model, recipe.inputs(images.images), torch.from_numpy(images.labels), visits)
    for parameter, start, last, change in zip(model.parameters(), before, LAST, CHANGE, strict=True):
        assert parameter.detach().flatten()[-1].item() == pytest.approx(last, abs=1e-6)
        assert (parameter - start).detach().double().norm().item() == pytest.approx(change, abs=1e-6)


def test_training_equals_plain_loop(small: Trainer) -> None:
    torch.testing.assert_close(trained(recipe.train, small), trained(train_plainly, small), rtol=0, atol=1e-10)


def test_vmapped_engine_trains_the_same_models(small: Trainer) -> None:
    states = []
    for engine in ("vmapped", "sequential"):
        models, visits = small.initialise_models([(1, 0, 0), (1, 1, 0)], [np.arange(40), np.arange(30, 70)])
        models = [model.double() for model in models]
        ENGINES[engine](recipe, models, small.inputs_nd.double(), small.labels_n, visits)
        states.append([values for model in models for values in model.state_dict().values()])
    for found, expected in zip(*states, strict=True):
        torch.testing.assert_close(found.contiguous(), expected.contiguous(), rtol=0, atol=1e-10)


def test_augmentation_has_its_own_random_stream(small: Trainer) -> None:
    """A model trained directly from the seeds that the kit states equals the trainer's model."""
    model = recipe.build()
    seed = (small.plan.public_seed, 1, 1)
    recipe.initialise(model, generator(*seed, INITIALISATION))
    order = recipe.order(generator(*seed, ORDER), np.flatnonzero(small.masks["public"][1]))
    recipe.train(model, small.inputs_nd, small.labels_n, augmenting.visits(generator(*seed, AUGMENTATION), order))
    number = small.models.index(next(each for each in small.models if (each.subset, each.run) == (1, 1)))
    np.testing.assert_array_equal(small.evaluate([model]).margins_KN, small.train_group([number]).margins_KN)


def test_kit_readme_code_gives_margins_of_reference_models(small: Trainer, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    write_kit(kit, small)
    text = (kit / "README.md").read_text()
    assert "The images are not included, because\nno licence allows it. Take them from their source (a test)" in text
    assert re.search("3 for how they are altered at each visit", text)
    loaded = import_file(kit / "recipe.py")
    loaded.SETTINGS = SMALL
    model = loaded.build()
    model.load_state_dict(load_file(kit / "reference-0.safetensors"))
    margins = loaded.output(model.eval()(loaded.inputs(small.data.target.images)), small.target_labels)
    reference = small.evaluate(small.train([(small.plan.public_seed, REFERENCE_SUBSET, 0)], [np.arange(80)]))
    # Not bit for bit: the images have another memory layout here, for which some processors use other code.
    np.testing.assert_allclose(margins.detach(), reference.margins_KN[0], rtol=1e-4, atol=1e-4)
