"""Call `dattri.metric.lds` and `ldsboard.lds` with the same arguments, and print the differences; runs as a separate process.

``PYTHONPATH=.venv/references python -m tests.references.dattri_arguments`` compares random scores. With the argument ``retrain``,
it compares scores on the ground truth that dattri's own functions compute from retrained models.

Legend: M subsets, m training examples of one subset, n training examples, N targets.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

import ldsboard

if TYPE_CHECKING:
    from pathlib import Path

PROBLEMS = 20


def problem(seed: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return scores (n, N), values (M, N) and indices (M, m), so that every sum of scores is exact in float32."""
    generator = torch.Generator().manual_seed(seed)
    M, n, N = 10 + 2 * seed, 20 + seed, 3
    scores = torch.randint(-(2**17), 2**17, (n, N), generator=generator).to(dtype)
    indices = torch.stack([torch.randperm(n, generator=generator)[: n // 2] for _ in range(M)])
    sums = torch.stack([scores[row].sum(dim=0) for row in indices])
    direction = 1 - 2 * torch.randint(0, 2, (N,), generator=generator)
    noise = torch.randn(M, N, generator=generator, dtype=torch.float64) * float(sums.std()) * 1.5
    return scores, direction * sums + noise, indices


def difference(kind: str) -> dict[str, float]:
    """Return the largest differences between the libraries over all problems, and how many correlations have either sign."""
    dattri_lds = import_module("dattri.metric").lds
    largest = {"difference": 0.0, "difference of p-values": 0.0, "positive": 0.0, "negative": 0.0}
    for seed in range(PROBLEMS):
        scores, values, indices = problem(seed, torch.float64 if kind == "float64" else torch.float32)
        if "masks" in kind:
            masks = torch.zeros(len(indices), len(scores), dtype=torch.bool if kind == "bool masks" else torch.uint8)
            indices = masks.scatter_(1, indices, 1)
        arguments = scores, (values, indices)
        correlations, p_values = dattri_lds(*arguments)
        result = ldsboard.lds(*arguments)
        for name, theirs, ours in (
            ("difference", correlations, result.per_target),
            ("difference of p-values", p_values, result.p_values),
        ):
            largest[name] = max(largest[name], float((theirs.double() - torch.from_numpy(ours)).abs().max()))
        largest["positive"] += int((result.per_target > 0).sum())
        largest["negative"] += int((result.per_target < 0).sum())
    return largest


def retrained() -> dict[str, Any]:
    """Return the LDS of both libraries for leave-one-out effects on a mean, with ground truth that dattri retrains.

    A model is the mean of its training examples, and the loss of a target is the squared distance from this mean. With
    examples near 0 and targets far to the right, an example lowers the loss of every target the more, the larger it is.
    """
    truth, retrain = import_module("dattri.metric"), import_module("dattri.model_util.retrain")
    # Multiples of 2**-17 below 1, so that sums are exact in float32, and so many that no two sums are equal.
    examples = torch.randint(-(2**17), 2**17, (12, 1), generator=torch.Generator().manual_seed(0)) / 2**17
    targets = torch.tensor([5.0, 6.0, 9.0])[:, None]

    def train(loader: Any, seed: int | None = None) -> torch.nn.Module:  # noqa: ARG001 -- dattri passes a seed
        model = torch.nn.Linear(1, 1)
        with torch.no_grad():
            model.weight.zero_()
            model.bias.fill_(torch.cat([batch for (batch,) in loader]).mean())
        return model

    def losses(path: Path, loader: Any) -> torch.Tensor:
        model = torch.nn.Linear(1, 1)
        model.load_state_dict(torch.load(path, weights_only=True))
        with torch.no_grad():
            return torch.cat([(model(batch) - batch) ** 2 for (batch,) in loader]).squeeze()

    def batches(rows: torch.Tensor) -> Any:
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(rows), batch_size=4)

    with TemporaryDirectory() as folder:
        retrain.retrain_lds(train, batches(examples), folder, num_subsets=20, subset_ratio=0.5, seed=0)
        ground_truth = truth.calculate_lds_ground_truth(losses, folder, batches(targets))
    scores = examples.expand(len(examples), len(targets)).contiguous()
    return {
        "values": float(ground_truth[0].max()),
        "dattri": float(truth.lds(scores, ground_truth)[0].mean()),
        "ldsboard": ldsboard.lds(scores, ground_truth).lds,
    }


def main() -> None:
    """Print the comparison that the command line names."""
    warnings.simplefilter("ignore")  # torch warns that it takes uint8 tensors as masks
    if sys.argv[1:] == ["retrain"]:
        found: dict[str, Any] = retrained()
    else:
        kinds = ("float32", "float64", "bool masks", "uint8 masks")
        found = {kind: difference(kind) for kind in kinds} | {"version": version("dattri")}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
