"""Gradients in whatever form they are kept have the inner products of those that autograd gives, example by example.

Legend: n examples, d inputs, C classes, P parameters.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from worker.baselines import gradients as module
from worker.baselines import layers
from worker.baselines.gradients import gradients, loss, per_example
from worker.baselines.material import Examples
from worker.recipes import cifar10_5k_resnet9, digits_mlp

d, C = 6, 4
GENERATOR = torch.Generator()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Let every test draw the same, whichever others run: bounds that hold on average are looked at in one draw."""
    GENERATOR.manual_seed(3)
    torch.manual_seed(3)


def draw(count: int, *shape: int) -> Examples:
    inputs = torch.randn(count, *shape, generator=GENERATOR, dtype=torch.float64)
    return Examples(inputs, torch.randint(C, (count,), generator=GENERATOR))


def one_by_one(model: nn.Module, function: module.Function, examples: Examples) -> torch.Tensor:
    """Return the gradient of each example alone, (n, P)."""
    parameters, rows = list(model.parameters()), []
    for i in range(len(examples.labels)):
        value = function(model(examples.inputs[i : i + 1]), examples.labels[i : i + 1]).sum()
        rows.append(torch.cat([gradient.flatten() for gradient in torch.autograd.grad(value, parameters)]))
    return torch.stack(rows)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(d, 7), nn.Tanh(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, C))


def residual_network() -> nn.Module:
    """Make the photographs' model with narrow layers, and running averages that are not those of a fresh one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifar10_5k_resnet9, "SETTINGS", replace(cifar10_5k_resnet9.SETTINGS, widths=(2, 3, 4, 3)))
        model = cifar10_5k_resnet9.build()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean, layer.running_var = (
                torch.randn(layer.num_features),
                torch.rand(layer.num_features) + 0.5,
            )
    return model


class Twice(nn.Module):
    """Sends an example through the same layer two times."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(d, d), nn.Linear(d, C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(torch.tanh(self.layer(torch.tanh(self.layer(x)))))
        return logits


class Pieces(nn.Module):
    """Sees an example as several pieces, and adds what it makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(d // 3, C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = torch.tanh(self.layer(x.reshape(len(x), 3, d // 3))).sum(1)
        return logits


@pytest.mark.parametrize(
    ("make", "shape", "by_layers"),
    [
        (perceptron, (d,), True),
        (lambda: nn.Sequential(nn.Flatten(), perceptron()), (2, d // 2), True),
        (lambda: nn.Sequential(nn.Linear(d, 3), nn.Linear(3, C, bias=False)), (d,), False),
        (Twice, (d,), False),
        (Pieces, (d,), False),
        (residual_network, (3, 32, 32), False),
    ],
    ids=["perceptron", "of images", "without bias", "a layer used twice", "pieces", "residual network"],
)
@pytest.mark.parametrize("function", [loss, digits_mlp.output])
def test_inner_products_are_those_of_each_example_alone(
    make: type[nn.Module], shape: tuple[int, ...], by_layers: bool, function: module.Function
) -> None:
    model = make().double().eval()
    train, target = draw(9, *shape), draw(4, *shape)
    assert (layers.run_forward(model, train) is not None) == by_layers
    expected = one_by_one(model, loss, train) @ one_by_one(model, function, target).T
    found = gradients(model, loss, train).products(gradients(model, function, target))
    torch.testing.assert_close(found, expected)


def test_layers_and_rows_agree() -> None:
    model, train = perceptron().double(), draw(9, d)
    rows_nP = per_example(model, loss, train)
    by_layers = gradients(model, loss, train)
    assert len(by_layers.layers) == 3
    torch.testing.assert_close(by_layers.products(by_layers), rows_nP @ rows_nP.T)


def test_rows_do_not_depend_on_how_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, train = perceptron().double(), draw(9, d)
    whole_nP = per_example(model, loss, train)
    monkeypatch.setattr(module, "CHUNK_NUMBERS", 4 * whole_nP.shape[1])
    torch.testing.assert_close(per_example(model, loss, train), whole_nP)
    monkeypatch.setattr(module, "CHUNK_NUMBERS", 1)
    torch.testing.assert_close(per_example(model, loss, train), whole_nP)


def total(logits_nC: torch.Tensor, _labels_n: torch.Tensor) -> torch.Tensor:
    """Return the sum of an example's logits, whose gradients are its inputs, over and over."""
    return logits_nC.sum(1)


@pytest.mark.parametrize("function", [loss, total])
def test_a_sketch_keeps_inner_products_as_near_as_it_says(
    function: module.Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Linear(300, C, bias=False).double()
    train, target = (Examples(examples.inputs.abs(), examples.labels) for examples in (draw(40, 300), draw(30, 300)))
    exact_nP, exact_mP = per_example(model, function, train), per_example(model, function, target)
    monkeypatch.setattr(module, "SKETCH_SIZE", 256)
    mine, theirs = gradients(model, function, train), gradients(model, function, target)
    assert mine.layers[0].slopes_no.shape == (40, 256)
    lengths = exact_nP.norm(dim=1)[:, None] * exact_mP.norm(dim=1)
    errors = (mine.products(theirs) - exact_nP @ exact_mP.T) / lengths
    assert 0.2 < float(errors.square().mean().sqrt()) / (2 / 256) ** 0.5 <= 1
    assert torch.equal(mine.layers[0].slopes_no, gradients(model, function, train).layers[0].slopes_no)


def test_a_sketch_is_one_signed_sum_for_each_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(d, C, bias=False).double()
    train = draw(50, d)
    rows_nP = per_example(model, loss, train)
    monkeypatch.setattr(module, "SKETCH_SIZE", 8)
    sketches_np = per_example(model, loss, train)
    # The slopes of the classes sum to 0: fewer directions than parameters, and what rounding adds to them is none.
    projection_Pp = torch.linalg.lstsq(rows_nP, sketches_np, rcond=1e-10, driver="gelsd").solution
    torch.testing.assert_close(rows_nP @ projection_Pp, sketches_np)  # linear, and the same for every example


def test_batch_normalisation_is_left_as_it_was() -> None:
    model = residual_network().double().eval()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    gradients(model, loss, draw(5, 3, 32, 32))
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())
