"""Compute scores of a small model with one attribution library, and save them as the library does; runs as a separate process.

``PYTHONPATH=.venv/references python -m tests.references.saved_scores NAME FOLDER`` writes the file or folder of the library into
FOLDER, and the scores that the library returned as ``plain.npy``, (n, N) in their own dtype. It prints the names of both versions
and of the file.

Legend: n training examples, N targets, d inputs.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from tests.references.published import prepare_quanda

if TYPE_CHECKING:
    from collections.abc import Callable

n, N, d, CLASSES, BATCH = 30, 7, 5, 3, 4
NAME = "toy"


def small_model() -> tuple[nn.Sequential, TensorDataset, TensorDataset]:
    """Return a trained model, its training examples and the targets; the last batches are smaller than the others."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(n, d), torch.randn(N, d)
    labels = inputs[:, :CLASSES].argmax(1)
    model = nn.Sequential(nn.Linear(d, 8), nn.Tanh(), nn.Linear(8, CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(30):
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(model(inputs), labels))
        optimizer.step()
    return model, TensorDataset(inputs, labels), TensorDataset(targets, targets[:, :CLASSES].argmax(1))


def batches(data: TensorDataset) -> DataLoader[Any]:
    return DataLoader(data, batch_size=BATCH)


def trak(folder: Path, *, half: bool = True) -> tuple[Path, Any]:
    """Save the scores of traker, ``scores/NAME.mmap``; return the path, and the memory map that traker returned."""
    model, train, target = small_model()
    traker = import_module("trak").TRAKer(
        model=model,
        task="image_classification",
        train_set_size=n,
        save_dir=folder,
        device="cpu",
        proj_dim=128,  # up to 100, traker 0.3.2 on a CPU cannot score the model that it featurized last
        use_half_precision=half,
        lambda_reg=1e-3,
        logging_level=40,
    )
    weights = model.state_dict()
    traker.load_checkpoint(weights, model_id=0)
    for batch in batches(train):
        traker.featurize(batch, num_samples=len(batch[0]))
    traker.finalize_features()
    traker.start_scoring_checkpoint(NAME, weights, model_id=0, num_targets=N)
    for batch in batches(target):
        traker.score(batch, num_samples=len(batch[0]))
    scores_nN = traker.finalize_scores(NAME)
    return folder / "scores" / f"{NAME}.mmap", scores_nN


def trak_float32(folder: Path) -> tuple[Path, Any]:
    """Save the scores of traker in float32."""
    return trak(folder, half=False)


def dattri(folder: Path) -> tuple[Path, Any]:
    """Save the tensor of an influence function of dattri, (n, N)."""
    model, train, target = small_model()

    def loss(weights: dict[str, torch.Tensor], batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return cross_entropy(functional_call(model, weights, batch[:1]), batch[1])

    task = import_module("dattri.task").AttributionTask(loss, model, model.state_dict())
    attributor = import_module("dattri.algorithm").IFAttributorExplicit(task, regularization=1e-2)
    attributor.cache(batches(train))
    scores_nN = attributor.attribute(batches(train), batches(target))
    torch.save(scores_nN, folder / "scores.pt")
    return folder / "scores.pt", scores_nN


def dattri_shapley(folder: Path) -> tuple[Path, Any]:
    """Save the tensor of dattri's KNNShapley, which is (N, n)."""
    _, train, target = small_model()
    attributor = import_module("dattri.algorithm").KNNShapleyAttributor(k_neighbors=3)
    scores_Nn = attributor.attribute(batches(train), batches(target))
    torch.save(scores_Nn, folder / "scores.pt")
    return folder / "scores.pt", scores_Nn.T


def kronfluence(folder: Path, **settings: Any) -> tuple[Path, Any]:
    """Save the pairwise scores of kronfluence, (N, n), with the given settings of the scores; return the folder of the scores."""
    model, train, target = small_model()
    library, base = import_module("kronfluence"), import_module("kronfluence.task").Task

    class Classification(base):  # type: ignore[misc, valid-type]  # imported at run time
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> torch.Tensor:
            logits = model(batch[0])
            labels = torch.multinomial(logits.detach().softmax(-1), 1).squeeze(-1) if sample else batch[1]
            return cross_entropy(logits, labels, reduction="sum")

        def compute_measurement(self, batch: Any, model: nn.Module) -> torch.Tensor:
            return cross_entropy(model(batch[0]), batch[1], reduction="sum")

    task = Classification()
    model = library.prepare_model(model, task)
    analyzer = library.Analyzer(NAME, model, task, cpu=True, output_dir=str(folder), disable_tqdm=True)
    analyzer.fit_all_factors("ekfac", train, per_device_batch_size=BATCH)
    analyzer.compute_pairwise_scores(
        "pairwise",
        "ekfac",
        query_dataset=target,
        train_dataset=train,
        per_device_query_batch_size=BATCH,
        per_device_train_batch_size=BATCH,
        score_args=import_module("kronfluence.arguments").ScoreArguments(**settings),
    )
    scores = analyzer.load_pairwise_scores("pairwise")
    return folder / NAME / "scores_pairwise", torch.stack(list(scores.values())).sum(0, dtype=torch.float64).T


def kronfluence_modules(folder: Path) -> tuple[Path, Any]:
    """Save kronfluence's scores of each module."""
    return kronfluence(folder, compute_per_module_scores=True)


def kronfluence_partitions(folder: Path) -> tuple[Path, Any]:
    """Save kronfluence's partitions of examples and modules, without the file that joins them."""
    path, scores_nN = kronfluence(folder, data_partitions=2, module_partitions=2)
    (path / "pairwise_scores.safetensors").unlink()
    return path, scores_nN


def captum(folder: Path) -> tuple[Path, Any]:
    """Save the tensor of captum's TracInCPFast, (N, n)."""
    model, train, target = small_model()
    torch.save(model.state_dict(), folder / "checkpoint.pt")
    tracin = import_module("captum.influence").TracInCPFast(
        model,
        model[2],
        train,
        [str(folder / "checkpoint.pt")],
        loss_fn=nn.CrossEntropyLoss(reduction="sum"),
        batch_size=BATCH,
    )
    scores_Nn = tracin.influence(target.tensors)
    torch.save(scores_Nn, folder / "influence.pt")
    return folder / "influence.pt", scores_Nn.T


def quanda(folder: Path) -> tuple[Path, Any]:
    """Save the batches of quanda's explanations by TRAK, each (targets of the batch, n)."""
    model, train, target = small_model()
    prepare_quanda("quanda", "quanda.utils", "quanda.explainers", "quanda.explainers.wrappers")
    explainer = import_module("quanda.explainers.wrappers.trak_wrapper").TRAK(
        model, train, NAME, cache_dir=str(folder / "traker"), proj_dim=16, batch_size=BATCH, lambda_reg=1e-3
    )
    cache = import_module("quanda.utils.cache").ExplanationsCache
    path = folder / "cache"
    path.mkdir()
    explanations = [explainer.explain(*batch) for batch in batches(target)]
    for number, scores_Nn in enumerate(explanations):
        cache.save(str(path), scores_Nn, num_id=number)
    return path, torch.cat(explanations).T


def dattri_llm(folder: Path) -> tuple[Path, Any]:
    """Save scores of dattri-llm, two steps of each example in a random order, and the order of the examples."""
    torch.manual_seed(0)
    hashes = [import_module("dattri_llm.utils.hashing").hash_sample({"input_ids": torch.tensor([i])}) for i in range(n)]
    steps, order = 2, torch.randperm(2 * n).tolist()
    scores = import_module("dattri_llm.attribution.score").AttributionScore(
        torch.randint(-99, 100, (steps * n, N)) / 8,  # both libraries add such numbers exactly
        [hashes[row % n] for row in order],
        [row // n for row in order],
        [str(target) for target in range(N)],
        algorithm="tracin",
        algorithm_meta={},
        layer_name=None,
    )
    path: Path = scores.save(folder / "scores")
    (path / "order.txt").write_text("\n".join(hashes))
    return path, scores.query(hashes)


SAVED: dict[str, tuple[str, Callable[[Path], tuple[Path, Any]]]] = {
    "TRAK": ("traker", trak),
    "TRAK in float32": ("traker", trak_float32),
    "dattri": ("dattri", dattri),
    "dattri, KNNShapley": ("dattri", dattri_shapley),
    "dattri-llm": ("dattri-llm", dattri_llm),
    "kronfluence": ("kronfluence", kronfluence),
    "kronfluence, scores per module": ("kronfluence", kronfluence_modules),
    "kronfluence, partitions": ("kronfluence", kronfluence_partitions),
    "captum": ("captum", captum),
    "quanda": ("quanda", quanda),
}
"""For each form the name of the package, and the function that saves it and returns its path and the scores, (n, N)."""


def main() -> None:
    """Save the form that the command line names."""
    name, target = sys.argv[1:]
    package, save = SAVED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path, scores_nN = save(Path(target))
    np.save(Path(target) / "plain.npy", torch.as_tensor(scores_nN).detach().contiguous().numpy())
    sys.stdout.write("\n" + json.dumps({"version": version(package), "path": str(path)}))


if __name__ == "__main__":
    main()
