"""Compute EK-FAC scores of a small convolutional network with kronfluence and with ours; runs as a separate process.

``PYTHONPATH=.:.venv/references python -m tests.references.kronfluence_convolutions [EXAMPLES TARGETS]`` prints the version of
kronfluence, the lowest correlation of both scores over targets, the ratio of their scales, and the processor seconds of both.

kronfluence draws labels from the model, and we sum over all of them. To compare the rest, kronfluence gets each example once with
every label, and the square root of the label's probability as the factor of the loss: the mean over these is our sum divided by
the number of classes.

Legend: n training examples, N targets, C classes.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from ldsboard.retraining import device
from worker import recipes
from worker.baselines.curvature import DAMPING, eigenbases, ek_fac
from worker.baselines.material import Examples, Material

RECIPE: Any = recipes.load("cifar10-5k-convnet")
C, BATCH = 10, 100
NAME = "small"


def examples(rng: np.random.Generator, count: int) -> Examples:
    """Return noisy images; the class is where a bright square is."""
    images = rng.integers(0, 150, (count, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, C, count)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 4)
        image[8 * row + 2 : 8 * row + 6, 8 * column + 2 : 8 * column + 6] += 60
    return Examples(RECIPE.inputs(images), torch.from_numpy(labels))


def trained(train: Examples) -> nn.Module:
    """Train the recipe's model with narrow layers."""
    RECIPE.SETTINGS = replace(RECIPE.SETTINGS, widths=(6, 8, 12), epochs=12)
    model = RECIPE.build()
    rng = np.random.default_rng(1)
    RECIPE.initialise(model, rng)
    visits = RECIPE.visits(rng, RECIPE.order(rng, np.arange(len(train.labels))))
    RECIPE.train(model, train.inputs, train.labels, visits)
    return cast("nn.Module", model.to(memory_format=torch.contiguous_format).eval())


def with_kronfluence(model: nn.Module, train: Examples, target: Examples, damping: float, folder: str) -> torch.Tensor:
    """Return kronfluence's scores (n, N)."""
    library, base = import_module("kronfluence"), import_module("kronfluence.task").Task
    arguments = import_module("kronfluence.arguments")

    class Margins(base):  # type: ignore[misc, valid-type]  # imported at run time
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> torch.Tensor:
            assert not sample
            inputs, labels, factors = batch
            total: torch.Tensor = (factors * cross_entropy(model(inputs), labels, reduction="none")).sum()
            return total

        def compute_measurement(self, batch: Any, model: nn.Module) -> torch.Tensor:
            return -RECIPE.output(model(batch[0]), batch[1]).sum()  # type: ignore[no-any-return]

    with torch.no_grad():
        roots_nC = model(train.inputs).softmax(1).sqrt()
    n = len(train.labels)
    every_label = TensorDataset(train.inputs.repeat_interleave(C, 0), torch.arange(C).repeat(n), roots_nC.flatten())
    once = TensorDataset(train.inputs, train.labels, torch.ones(n))
    task = Margins()
    analyzer = library.Analyzer(
        NAME, library.prepare_model(model, task), task, cpu=True, output_dir=folder, disable_tqdm=True
    )
    factors = arguments.FactorArguments(
        strategy="ekfac", use_empirical_fisher=True, covariance_max_examples=None, lambda_max_examples=None
    )
    analyzer.fit_all_factors("ekfac", every_label, per_device_batch_size=BATCH, factor_args=factors)
    analyzer.compute_pairwise_scores(
        "margins",
        "ekfac",
        TensorDataset(target.inputs, target.labels),
        once,
        per_device_query_batch_size=BATCH,
        per_device_train_batch_size=BATCH,
        score_args=arguments.ScoreArguments(damping_factor=damping / C),
    )
    return cast("torch.Tensor", analyzer.load_pairwise_scores("margins")["all_modules"].T)


def main(n: int = 200, N: int = 30) -> None:
    """Compare both, and print what was found as JSON."""
    device.use_one_thread()
    rng = np.random.default_rng(0)
    train, target = examples(rng, n), examples(rng, N)
    model = trained(train)
    material = Material(RECIPE, [model], train, target, np.zeros((0, n), bool), np.zeros((0, 1, N), np.float32))
    start = time.process_time()
    ours_nN = ek_fac(material)
    ours = time.process_time() - start
    values_P = torch.cat([basis.values_oi.flatten() for basis in eigenbases(model, train)])
    with TemporaryDirectory() as folder:
        start = time.process_time()
        theirs_nN = with_kronfluence(model, train, target, DAMPING * float(values_P.mean()), folder).double().numpy()
        theirs = time.process_time() - start
    correlations_N = [np.corrcoef(a, b)[0, 1] for a, b in zip(ours_nN.T.astype(float), theirs_nN.T, strict=True)]
    found = {
        "lowest": min(correlations_N),
        "scale": float(np.median(theirs_nN / ours_nN)),
        "ours": ours,
        "kronfluence": theirs,
    }
    sys.stdout.write(json.dumps({"version": version("kronfluence")} | found) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
