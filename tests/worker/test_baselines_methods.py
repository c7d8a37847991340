"""Each method equals the direct computation of its formula, on networks small enough for dense matrices.

Legend: n training examples, N targets, d inputs, C classes, P parameters, M subsets.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.nn import functional

from ldsboard.manifest import BundleError
from tests.worker.test_baselines_gradients import Scaled
from worker import recipes
from worker.baselines import curvature
from worker.baselines.datamodel import datamodel, ridge
from worker.baselines.gradients import loss, per_example
from worker.baselines.material import Examples, Material
from worker.baselines.similarity import similarity
from worker.baselines.tracin import grad_dot
from worker.baselines.trak import trak

RECIPE = recipes.load("digits-mlp")
n, N, d, C = 23, 7, 5, 3


def draw(count: int, generator: torch.Generator) -> Examples:
    inputs = torch.randn(count, d, generator=generator, dtype=torch.float64)
    return Examples(inputs, torch.randint(C, (count,), generator=generator))


@pytest.fixture(scope="module")
def material() -> Material:
    """Two small networks in float64, with data and subsets."""
    generator, rng = torch.Generator().manual_seed(1), np.random.default_rng(1)
    models = []
    for _ in range(2):
        model = nn.Sequential(nn.Linear(d, 6), nn.Tanh(), nn.Linear(6, C)).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        models.append(model)
    masks_Mn, margins_MRN = rng.random((12, n)) < 0.5, rng.normal(size=(12, 2, N)).astype(np.float32)
    return Material(RECIPE, list(models), draw(n, generator), draw(N, generator), masks_Mn, margins_MRN)


def one_by_one(model: nn.Module, values_n: torch.Tensor) -> torch.Tensor:
    """Return the gradients of n values, (n, P), from one autograd call each, in the order of ``model.parameters()``."""
    parameters = list(model.parameters())
    rows = [torch.autograd.grad(value, parameters, retain_graph=True) for value in values_n]
    return torch.stack([torch.cat([gradient.flatten() for gradient in row]) for row in rows])


def test_per_example_gradients_equal_autograd_of_single_examples(material: Material) -> None:
    model, train = material.models[0], material.train
    logits_nC = model(train.inputs)
    expected_nP = one_by_one(model, functional.cross_entropy(logits_nC, train.labels, reduction="none"))
    torch.testing.assert_close(per_example(model, loss, train), expected_nP)
    expected_nP = one_by_one(model, RECIPE.output(logits_nC, train.labels))
    torch.testing.assert_close(per_example(model, RECIPE.output, train), expected_nP)


def test_grad_dot_equals_first_order_effect_of_a_step(material: Material) -> None:
    scores_nN, step = grad_dot(material), 1e-6
    before_N = RECIPE.output(material.models[0](material.target.inputs), material.target.labels)
    for i in (0, n - 1):
        stepped = copy.deepcopy(material.models[0])
        value = loss(stepped(material.train.inputs[[i]]), material.train.labels[[i]]).sum()
        gradients = torch.autograd.grad(value, list(stepped.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(stepped.parameters(), gradients, strict=True):
                parameter.sub_(step * gradient)
            change_N = RECIPE.output(stepped(material.target.inputs), material.target.labels) - before_N
        np.testing.assert_allclose(scores_nN[i], change_N.detach() / step, rtol=1e-3, atol=1e-3)


def test_trak_equals_formula_with_inverse_in_parameter_space(material: Material) -> None:
    damping, train = 0.7, material.train
    inner, doubt = [], []
    for model in material.models:
        logits_nC = model(train.inputs)
        Phi_nP = one_by_one(model, RECIPE.output(logits_nC, train.labels))
        phi_NP = one_by_one(model, RECIPE.output(model(material.target.inputs), material.target.labels))
        strength = damping * Phi_nP.square().sum(1).mean() * torch.eye(Phi_nP.shape[1])
        inner.append(Phi_nP @ torch.linalg.inv(Phi_nP.T @ Phi_nP + strength) @ phi_NP.T)
        doubt.append(1 - logits_nC.softmax(1)[torch.arange(n), train.labels])
    expected_nN = torch.stack(inner).mean(0) * torch.stack(doubt).mean(0)[:, None]
    np.testing.assert_allclose(trak(material, damping), expected_nN.detach(), rtol=1e-4, atol=1e-6)


class Stage(NamedTuple):
    """A layer's inputs at each position, (n, T, i - 1), and its outputs, (n, T, o), as a test computed them."""

    inputs_nTi: torch.Tensor
    outputs_nTo: torch.Tensor


def perceptron_stages(model: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, list[Stage]]:
    first, last = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
    one = first(inputs)
    hidden = torch.tanh(one)
    logits = last(hidden)
    return logits, [Stage(inputs[:, None], one), Stage(hidden[:, None], logits)]


def convolution_stages(model: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, list[Stage]]:
    """Apply the filters of `convolutions` patch by patch."""
    first, last = (layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    padded = functional.pad(inputs, (0, 0, 1, 1))
    # Stride 2 along the columns, padding 1 along the rows, dilation 2 along the rows: rows r and r + 2, columns 2 c to 2 c + 1.
    patches = [padded[:, :, r : r + 3 : 2, 2 * c : 2 * c + 2].flatten(1) for r in range(4) for c in range(2)]
    inputs_nTi = torch.stack(patches, 1)
    outputs_nTo = inputs_nTi @ first.weight.flatten(1).T + first.bias  # type: ignore[operator]
    hidden = outputs_nTo.mT.relu().flatten(1)
    logits = last(hidden)
    return logits, [Stage(inputs_nTi, outputs_nTo), Stage(hidden[:, None], logits)]


def convolutions() -> nn.Module:
    """Return a network for images (2, 4, 4), with an activation that overwrites the outputs of the convolution."""
    first = nn.Conv2d(2, 3, (2, 2), stride=(1, 2), padding=(1, 0), dilation=(2, 1))
    return nn.Sequential(first, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(24, C)).double()


def dense_influence(model: nn.Module, stages: Any, material: Material, damping: float) -> torch.Tensor:
    """Compute the EK-FAC influence (n, N) with dense P x P matrices for each layer."""
    train, target = material.train, material.target
    logits_nC, of_layers = stages(model, train.inputs)
    p_nC = logits_nC.softmax(1).detach()
    every_Cn = logits_nC.log_softmax(1).T
    of_class_CnP = torch.stack([one_by_one(model, values_n) for values_n in every_Cn])
    train_nP = one_by_one(model, functional.cross_entropy(logits_nC, train.labels, reduction="none"))
    target_NP = one_by_one(model, RECIPE.output(stages(model, target.inputs)[0], target.labels))
    bases, start = [], 0
    for inputs, outputs in of_layers:
        slopes = [torch.autograd.grad(values_n.sum(), outputs, retain_graph=True)[0] for values_n in every_Cn]
        slopes_CnTo = torch.stack(slopes).reshape(C, n, -1, outputs.shape[-1])
        inputs_nTi = torch.cat([inputs.detach(), torch.ones(*inputs.shape[:2], 1)], dim=2)
        (o, i), T = (slopes_CnTo.shape[-1], inputs.shape[2]), inputs.shape[1]
        columns = slice(start, start + o * i + o)
        start = columns.stop
        # Autograd orders a layer's parameters as weights, then biases. The constant input is the last input, so permute the
        # Kronecker product of inputs and outputs to autograd's order.
        order = [row * (i + 1) + column for row in range(o) for column in range(i)]
        order += [row * (i + 1) + i for row in range(o)]
        A, S = torch.zeros(i + 1, i + 1, dtype=torch.float64), torch.zeros(o, o, dtype=torch.float64)
        F = torch.zeros(columns.stop - columns.start, columns.stop - columns.start, dtype=torch.float64)
        for example in range(n):
            for position in range(T):
                A += torch.outer(inputs_nTi[example, position], inputs_nTi[example, position]) / n
            for label in range(C):
                gradient = of_class_CnP[label, example, columns]
                F += p_nC[example, label] * torch.outer(gradient, gradient) / n
                for slope in slopes_CnTo[label, example]:
                    S += p_nC[example, label] * torch.outer(slope, slope) / n
        Q = torch.kron(torch.linalg.eigh(S).eigenvectors, torch.linalg.eigh(A).eigenvectors)[order]
        values = (Q.T @ F @ Q).diagonal()
        bases.append((Q, values, columns))
    assert start == train_nP.shape[1]
    strength = damping * torch.cat([values for _, values, _ in bases]).mean()
    influence_nN = torch.zeros(n, N, dtype=torch.float64)
    for Q, values, columns in bases:
        inverse = Q @ torch.diag(1 / (values + strength)) @ Q.T
        influence_nN -= train_nP[:, columns] @ inverse @ target_NP[:, columns].T
    return influence_nN


def test_ek_fac_equals_dense_computation(material: Material) -> None:
    damping = 1e-2
    dense = [dense_influence(model, perceptron_stages, material, damping) for model in material.models]
    np.testing.assert_allclose(
        curvature.ek_fac(material, damping), torch.stack(dense).mean(0).detach(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("held", [N, 3, 0])
def test_ek_fac_of_convolutions_equals_dense_computation(
    material: Material, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory of the gradients of `held` targets is allowed; with less than one, it is one."""
    monkeypatch.setattr(curvature, "CHUNK_NUMBERS", held * 102 + 50)  # the network has 102 parameters
    torch.manual_seed(0)
    model = convolutions()
    images = [
        Examples(torch.randn(count, 2, 4, 4, dtype=torch.float64), torch.randint(C, (count,))) for count in (n, N)
    ]
    small = replace(material, models=[model], train=images[0], target=images[1])
    torch.testing.assert_close(convolution_stages(model, images[0].inputs)[0], model(images[0].inputs))
    dense = dense_influence(model, convolution_stages, small, 1e-2)
    np.testing.assert_allclose(curvature.ek_fac(small, 1e-2), dense.detach(), rtol=1e-4, atol=1e-4)


def test_ek_fac_with_large_damping_is_proportional_to_grad_dot(material: Material) -> None:
    one = replace(material, models=material.models[:1])
    much, expected = curvature.ek_fac(one, 1e8), grad_dot(one)
    np.testing.assert_allclose(much / np.linalg.norm(much), expected / np.linalg.norm(expected), rtol=1e-4, atol=1e-6)


class OfAConstant(nn.Module):
    """Adds a layer's output for a constant, of which there is one for all examples."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = x + self.layer(torch.ones(2, dtype=x.dtype))
        return output


@pytest.mark.parametrize(
    "layer",
    [
        nn.LayerNorm(C),
        nn.Linear(C, C, bias=False),
        Scaled(C, C),
        OfAConstant(),
        nn.utils.parametrizations.weight_norm(nn.Linear(C, C)),
        nn.Sequential(nn.Unflatten(1, (C, 1, 1)), nn.Conv2d(C, C, 1, groups=C), nn.Flatten()),
        nn.Sequential(nn.Unflatten(1, (C, 1, 1)), nn.Conv2d(C, C, 1, bias=False), nn.Flatten()),
        nn.Sequential(nn.Unflatten(1, (C, 1, 1)), nn.Conv2d(C, C, 1, padding="same"), nn.Flatten()),
        nn.Sequential(nn.Unflatten(1, (C, 1, 1)), nn.Conv2d(C, C, 1, padding_mode="circular"), nn.Flatten()),
    ],
)
def test_ek_fac_rejects_unsupported_layers(material: Material, layer: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(d, C), layer).double()
    with pytest.raises(BundleError, match=r"linear layers and .* with biases.*use trak"):
        curvature.ek_fac(replace(material, models=[model]))


@pytest.mark.parametrize("strength", [0.3, 30.0])
def test_datamodel_equals_ridge_regression_with_intercept(material: Material, strength: float) -> None:
    fitted = Ridge(alpha=strength).fit(material.masks_Mn.astype(float), material.margins_MRN.mean(1, dtype=float))
    np.testing.assert_allclose(datamodel(material, strength), fitted.coef_.T, rtol=1e-5, atol=1e-7)


def test_ridge_recovers_known_effects() -> None:
    rng = np.random.default_rng(2)
    effects_nN, masks_Mn = rng.normal(size=(n, N)), rng.random((400, n)) < 0.5
    np.testing.assert_allclose(ridge(masks_Mn, masks_Mn @ effects_nN + 5, 1e-6), effects_nN, rtol=1e-4)


def test_similarity_is_cosine_with_sign_of_class(material: Material) -> None:
    train, target = material.train, material.target
    scores_nN = similarity(material)
    for i in range(n):
        for j in range(N):
            x, z = train.inputs[i].numpy(), target.inputs[j].numpy()
            sign = 1 if train.labels[i] == target.labels[j] else -1
            assert scores_nN[i, j] == pytest.approx(sign * (x @ z) / np.linalg.norm(x) / np.linalg.norm(z))
