"""Real ground truth that is trained in seconds: kernel machines on scikit-learn's digits, retrained exactly on every subset.

Legend: P subsets, M subsets drawn, n training examples, N targets, d pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits

from ldsboard import GroundTruth, compare
from tests.statistics.populations import subsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CLASSES = 10


@dataclass(frozen=True)
class Digits:
    """Inputs and labels of training examples and targets, and the subsets with the margins of their models, (P, N)."""

    train_nd: Floats
    train_labels_n: NDArray[np.int64]
    target_Nd: Floats
    target_labels_N: NDArray[np.int64]
    masks_Pn: NDArray[np.bool_]
    margins_PN: Floats

    @classmethod
    def trained(cls, P: int, n: int, N: int) -> Digits:
        """Train a kernel ridge regression of the labels on each of P subsets of half of n digits; N other digits are targets."""
        rng, source = np.random.default_rng(21), load_digits()
        index = rng.permutation(len(source.target))[: n + N]
        inputs, labels = source.data[index] / 16, source.target[index].astype(np.int64)
        masks_Pn = subsets(rng, P, n)
        squares = cdist(inputs, inputs[:n], "sqeuclidean")
        kernel = np.exp(-squares / np.median(squares[:n]))
        margins_PN = np.empty((P, N))
        for margins_N, mask_n in zip(margins_PN, masks_Pn, strict=True):
            weights = np.linalg.solve(
                kernel[:n][mask_n][:, mask_n] + 0.1 * np.eye(mask_n.sum()), np.eye(CLASSES)[labels[:n][mask_n]]
            )
            outputs = 8 * kernel[n:][:, mask_n] @ weights
            correct = np.eye(CLASSES, dtype=np.bool_)[labels[n:]]
            others = np.where(correct, -np.inf, outputs)
            margins_N[:] = outputs[correct] - np.logaddexp.reduce(others, axis=1)
        return cls(inputs[:n], labels[:n], inputs[n:], labels[n:], masks_Pn, margins_PN)

    def sample(self, rng: np.random.Generator, M: int) -> GroundTruth:
        """Return the ground truth of M random rows, with replacement."""
        rows_M = rng.integers(len(self.masks_Pn), size=M)
        return GroundTruth(self.masks_Pn[rows_M], self.margins_PN[rows_M])

    def projected_similarity(self, rng: np.random.Generator, dimensions: int = 32) -> Floats:
        """Return the cosine of randomly projected inputs, negated if the labels differ, (n, N); each call is another rerun."""
        projection = rng.normal(size=(self.train_nd.shape[1], dimensions))
        train, target = (
            (inputs @ projection) / np.linalg.norm(inputs @ projection, axis=1, keepdims=True)
            for inputs in (self.train_nd, self.target_Nd)
        )
        same_nN = self.train_labels_n[:, None] == self.target_labels_N
        cosine_nN: Floats = train @ target.T
        return np.where(same_nN, cosine_nN, -cosine_nN)


@dataclass(frozen=True)
class Different:
    """Shares of the pairs of one method's reruns that are called different at 5 %, on one draw of subsets."""

    files: float
    triples: float
    triple_and_file: float


def called_different(digits: Digits, rng: np.random.Generator, M: int) -> Different:
    """Compare twelve reruns as single files, as four means of three, and each mean of three with each other single file."""
    truth = digits.sample(rng, M)
    results = [truth.score(digits.projected_similarity(rng)) for _ in range(12)]
    triples = [results[start : start + 3] for start in range(0, 12, 3)]

    def share(pairs: list[tuple[object, object]]) -> float:
        return float(np.mean([compare(a, b).p_value < 0.05 for a, b in pairs]))  # type: ignore[arg-type]

    return Different(
        share([(a, b) for place, a in enumerate(results) for b in results[:place]]),
        share([(a, b) for place, a in enumerate(triples) for b in triples[:place]]),
        share([(triple, file) for triple in triples for file in results if all(file is not each for each in triple)]),
    )
