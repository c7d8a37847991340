"""Run the functions of published libraries on given cases and print their results; runs as a separate process.

``PYTHONPATH=.venv/references python tests/references/published.py CASES.npz`` reads arrays called ``NAME.scores`` (n, N),
``NAME.masks`` (M, n) and ``NAME.margins`` (M, N), and prints JSON: for every name and library the correlation of each target,
or the error; the names of the warnings; and wall and processor seconds of the call without conversions.

Legend: M subsets, k examples of each, n training examples, N targets.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class _AnyName(type):
    def __getattr__(cls, name: str) -> type:
        return _unneeded(name)


class Unneeded(metaclass=_AnyName):
    """Replaces every class of a package that quanda names in annotations and base classes only; its metric never uses them."""


def _unneeded(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return Unneeded


def _root_of_quanda() -> Path:
    spec = find_spec("quanda")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("quanda was not found on PYTHONPATH")
    return Path(spec.origin).parents[1]


@cache
def prepare_quanda(*packages: str) -> None:
    """Let modules of quanda be imported without the training libraries that its packages import.

    The packages of quanda that are named are replaced by empty modules, so that their ``__init__`` does not run; `lightning`,
    `datasets` and `transformers`, whose classes serve only as annotations and to recognize other kinds of data, are replaced by
    modules of placeholders.
    """
    root = _root_of_quanda()
    for package in packages:
        bare = ModuleType(package)
        bare.__path__ = [str(root.joinpath(*package.split(".")))]
        sys.modules[package] = bare
    for package in ("lightning", "datasets", "transformers"):
        absent = ModuleType(package)
        absent.__getattr__ = _unneeded  # type: ignore[method-assign]
        sys.modules[package] = absent


def import_quanda() -> Any:
    """Return quanda's unmodified metric."""
    prepare_quanda("quanda", "quanda.utils", "quanda.metrics", "quanda.metrics.ground_truth")
    return import_module("quanda.metrics.ground_truth.linear_datamodeling").LinearDatamodelingMetric


def dattri_call(scores_nN: torch.Tensor, masks_Mn: NDArray[np.bool_], margins_MN: torch.Tensor) -> Callable[[], Any]:
    """Return a call of ``dattri.metric.lds``, which takes the subsets as an index array, all of one size."""
    lds = import_module("dattri.metric").lds
    subsets_Mk = torch.from_numpy(np.stack([np.flatnonzero(row) for row in masks_Mn]))
    return lambda: lds(scores_nN, (margins_MN, subsets_Mk))[0]


def quanda_call(scores_nN: torch.Tensor, masks_Mn: NDArray[np.bool_], margins_MN: torch.Tensor) -> Callable[[], Any]:
    """Return a call of ``quanda.metrics.LinearDatamodelingMetric`` with given margins instead of margins of models."""
    subsets = [np.flatnonzero(row).tolist() for row in masks_Mn]
    metric = import_quanda()(
        model=torch.nn.Identity(),
        train_dataset=torch.utils.data.TensorDataset(scores_nN),
        m=len(subsets),
        subset_ids=subsets,
        subset_ckpt_filenames=[""] * len(subsets),
    )
    explanations_Nn, targets_N = scores_nN.T.contiguous(), torch.zeros(scores_nN.shape[1], dtype=torch.int64)
    outputs = dict(enumerate(margins_MN))

    def call() -> Any:
        metric.update(explanations_Nn, test_targets=targets_N, test_data=None, subset_logits=outputs)
        return metric.results["scores"][0]

    return call


def torchmetrics_call(
    scores_nN: torch.Tensor, masks_Mn: NDArray[np.bool_], margins_MN: torch.Tensor
) -> Callable[[], Any]:
    """Return a call of ``torchmetrics.functional.regression.spearman_corrcoef`` on a plain matrix product."""
    spearman = import_module("torchmetrics.functional.regression").spearman_corrcoef
    weights_Mn = torch.from_numpy(masks_Mn).to(scores_nN.dtype)
    return lambda: spearman(weights_Mn @ scores_nN, margins_MN)


LIBRARIES = {"dattri": dattri_call, "quanda": quanda_call, "torchmetrics": torchmetrics_call}


def answer(library: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Run one library on one case and return its answer."""
    scores_nN, margins_MN = (torch.from_numpy(arrays[name]) for name in ("scores", "margins"))
    given: dict[str, Any] = {"version": version(library)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call = LIBRARIES[library](scores_nN, arrays["masks"], margins_MN)
            wall, cpu = time.perf_counter(), time.process_time()
            per_target_N = call()
            given |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            given |= {"dtype": str(per_target_N.dtype), "per_target": per_target_N.tolist()}
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            given["error"] = f"{type(error).__name__}: {error}"
    return given | {"warnings": sorted({warning.category.__name__ for warning in caught})}


def main() -> None:
    """Run the libraries named on the command line, by default all, on every case of the given file."""
    path, *libraries = sys.argv[1:]
    cases: dict[str, dict[str, NDArray[Any]]] = {}
    with np.load(path) as arrays:
        for key in arrays:
            name, _, array = key.rpartition(".")
            cases.setdefault(name, {})[array] = arrays[key]
    answers = {
        name: {library: answer(library, case) for library in libraries or LIBRARIES} for name, case in cases.items()
    }
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main()
