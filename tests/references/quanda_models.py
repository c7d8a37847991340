"""Let quanda's metric train the models of its subsets, and print with which weights their training begins, as JSON."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.metadata import version
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tests.references.published import import_quanda
from tests.references.saved_scores import small_model

SUBSETS = 3


def main() -> None:
    """Train the models of three subsets, by a trainer that only counts equal weights."""
    metric = import_quanda()
    model, train, _ = small_model()
    explained = [parameter.clone() for parameter in model.parameters()]
    equal = []

    class Trainer(import_module("quanda.utils.training.trainer").BaseTrainer):  # type: ignore[misc]  # imported at run time
        def fit(self, model: torch.nn.Module, **_: Any) -> torch.nn.Module:
            equal.append(all(map(torch.equal, model.parameters(), explained)))
            return model

    with TemporaryDirectory() as folder:
        metric(model, train, Trainer(), m=SUBSETS, cache_dir=folder)
    found = {"version": version("quanda"), "subsets": len(equal), "start from the explained model": sum(equal)}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
