"""Gradients in every stored form have the inner products of per-example gradients from autograd.

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
    """Seed every test, since some bounds hold on average and are checked on a single draw."""
    GENERATOR.manual_seed(3)
    torch.manual_seed(3)


def draw(count: int, *shape: int) -> Examples:
    inputs = torch.randn(count, *shape, generator=GENERATOR, dtype=torch.float64)
    return Examples(inputs, torch.randint(C, (count,), generator=GENERATOR))


def one_by_one(model: nn.Module, function: module.Function, examples: Examples) -> torch.Tensor:
    """Return the gradients of single examples, (n, P), from one autograd call each."""
    parameters, rows = list(model.parameters()), []
    for i in range(len(examples.labels)):
        value = function(model(examples.inputs[i : i + 1]), examples.labels[i : i + 1]).sum()
        slopes = torch.autograd.grad(value, parameters, materialize_grads=True)
        rows.append(torch.cat([slope.flatten() for slope in slopes]))
    return torch.stack(rows)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(d, 7), nn.Tanh(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, C))


def residual_network() -> nn.Module:
    """Return the CIFAR-10 model with narrow layers and random running averages."""
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
    """A network that applies one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(d, d), nn.Linear(d, C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(torch.tanh(self.layer(torch.tanh(self.layer(x)))))
        return logits


class Pieces(nn.Module):
    """A network that splits an example into three pieces and adds their logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(d // 3, C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = torch.tanh(self.layer(x.reshape(len(x), 3, d // 3))).sum(1)
        return logits


class Scaled(nn.Linear):
    """A linear layer with one more parameter."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(i, o)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * super().forward(x)


def hooked() -> nn.Module:
    """Return a network with a hook that changes the output of a layer."""
    model = nn.Sequential(nn.Linear(d, 5), nn.Tanh(), nn.Linear(5, C))
    model[0].register_forward_hook(lambda _layer, _arguments, output: 2 * output)
    return model


def partly_unused() -> nn.Module:
    """Return a network with a layer whose output changes nothing."""

    class Ignoring(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ignored, self.layer = nn.Linear(d, 2), nn.Linear(d, C)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.ignored(x)
            output: torch.Tensor = self.layer(x)
            return output

    return Ignoring()


@pytest.mark.parametrize(
    ("make", "shape", "by_layers"),
    [
        (perceptron, (d,), True),
        (lambda: nn.Sequential(nn.Flatten(), perceptron()), (2, d // 2), True),
        (lambda: nn.Sequential(nn.Linear(d, 3), nn.Linear(3, C, bias=False)), (d,), False),
        (Twice, (d,), False),
        (Pieces, (d,), False),
        (residual_network, (3, 32, 32), False),
        (lambda: nn.Sequential(nn.Linear(d, 5), nn.ReLU(inplace=True), nn.Linear(5, C)), (d,), True),
        (hooked, (d,), True),
        (partly_unused, (d,), True),
        (lambda: nn.Sequential(Scaled(d, C)), (d,), False),
        (lambda: nn.Sequential(nn.Conv2d(3, 2, 30), nn.Flatten(), nn.Linear(18, C)), (3, 32, 32), False),
    ],
    ids=[
        "perceptron",
        "of images",
        "without bias",
        "a layer used twice",
        "pieces",
        "residual network",
        "computing in place",
        "with a hook",
        "a layer without effect",
        "a parameter of its own",
        "convolution",
    ],
)
@pytest.mark.parametrize("function", [loss, digits_mlp.output])
def test_inner_products_equal_those_of_single_example_gradients(
    make: type[nn.Module], shape: tuple[int, ...], by_layers: bool, function: module.Function
) -> None:
    model = make().double().eval()
    train, target = draw(9, *shape), draw(4, *shape)
    assert (layers.run_forward(model, train) is not None) == by_layers
    expected = one_by_one(model, loss, train) @ one_by_one(model, function, target).T
    found = gradients(model, loss, train).products(gradients(model, function, target))
    torch.testing.assert_close(found, expected)


def test_layer_form_and_row_form_have_equal_inner_products() -> None:
    model, train = perceptron().double(), draw(9, d)
    rows_nP = per_example(model, loss, train)
    by_layers = gradients(model, loss, train)
    assert len(by_layers.layers) == 3
    torch.testing.assert_close(by_layers.products(by_layers), rows_nP @ rows_nP.T)


def test_gradient_rows_do_not_depend_on_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    model, train = perceptron().double(), draw(9, d)
    whole_nP = per_example(model, loss, train)
    monkeypatch.setattr(module, "CHUNK_NUMBERS", 4 * whole_nP.shape[1])
    torch.testing.assert_close(per_example(model, loss, train), whole_nP)
    monkeypatch.setattr(module, "CHUNK_NUMBERS", 1)
    torch.testing.assert_close(per_example(model, loss, train), whole_nP)


def total(logits_nC: torch.Tensor, _labels_n: torch.Tensor) -> torch.Tensor:
    """Return the sum of an example's logits, whose gradient repeats the example's inputs for every class."""
    return logits_nC.sum(1)


@pytest.mark.parametrize("function", [loss, total])
def test_sketch_keeps_inner_products_within_stated_error(
    function: module.Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Linear(300, C, bias=False).double()
    train, target = (Examples(examples.inputs.abs(), examples.labels) for examples in (draw(40, 300), draw(30, 300)))
    exact_nP, exact_mP = per_example(model, function, train), per_example(model, function, target)
    monkeypatch.setattr(module, "SKETCH_SIZE", 256)
    train_gradients, target_gradients = gradients(model, function, train), gradients(model, function, target)
    assert train_gradients.layers[0].slopes_no.shape == (40, 256)
    lengths = exact_nP.norm(dim=1)[:, None] * exact_mP.norm(dim=1)
    errors = (train_gradients.products(target_gradients) - exact_nP @ exact_mP.T) / lengths
    assert 0.2 < float(errors.square().mean().sqrt()) / (2 / 256) ** 0.5 <= 1
    assert torch.equal(train_gradients.layers[0].slopes_no, gradients(model, function, train).layers[0].slopes_no)


def test_sketch_is_linear_and_equal_for_every_example(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(d, C, bias=False).double()
    train = draw(50, d)
    rows_nP = per_example(model, loss, train)
    monkeypatch.setattr(module, "SKETCH_SIZE", 8)
    sketches_np = per_example(model, loss, train)
    # The class gradients sum to 0, so the rows span fewer directions than parameters; rcond removes directions due to rounding.
    projection_Pp = torch.linalg.lstsq(rows_nP, sketches_np, rcond=1e-10, driver="gelsd").solution
    torch.testing.assert_close(rows_nP @ projection_Pp, sketches_np)  # one linear map for all examples


def test_gradients_do_not_change_batch_normalisation() -> None:
    model = residual_network().double().eval()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    gradients(model, loss, draw(5, 3, 32, 32))
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())
