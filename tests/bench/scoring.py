"""Scoring beside its plain forms, in one run on one machine: ``python tests/bench/scoring.py``.

Measured is everything in `Result` for both parts of the subsets, from an array in memory, against the bare float64 product of
masks and scores, and against the product and the per-target loop of the notebook. Every figure is the best of several rounds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from ldsboard import GroundTruth

if TYPE_CHECKING:
    from collections.abc import Callable

M, n, N, ROUNDS = 1000, 5000, 2000, 3
SPLITS = {"public": slice(0, 200), "ranking": slice(200, None)}
LOOP_TARGETS = 200


@dataclass
class Timing:
    """Wall and processor seconds of one way to do the work."""

    wall: float = float("inf")
    cpu: float = float("inf")

    def measure(self, work: Callable[[], object]) -> None:
        """Do the work once, and keep its time if it is the best so far."""
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if wall < self.wall:
            self.wall, self.cpu = wall, cpu


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    masks_Mn = rng.random((M, n)) < 0.5
    margins_MN = rng.normal(size=(M, N)).astype(np.float32)
    scores_nN = rng.normal(size=(n, N)).astype(np.float32)
    truth = GroundTruth(masks_Mn, margins_MN)
    weights_Mn, doubles_nN = masks_Mn.astype(np.float64), scores_nN.astype(np.float64)
    floats_Mn = masks_Mn.astype(np.float32)

    def loop() -> None:
        predictions_MN = floats_Mn @ scores_nN
        for j in range(LOOP_TARGETS):
            spearmanr(predictions_MN[:, j], margins_MN[:, j])

    def floats() -> object:
        return floats_Mn @ scores_nN

    ours, product, notebook, float_product = Timing(), Timing(), Timing(), Timing()
    truth.score(scores_nN, splits=SPLITS)
    for _ in range(ROUNDS):
        ours.measure(lambda: truth.score(scores_nN, splits=SPLITS))
        product.measure(lambda: weights_Mn @ doubles_nN)
        float_product.measure(floats)
        notebook.measure(loop)
    scale = N / LOOP_TARGETS
    notebook.wall = float_product.wall + scale * (notebook.wall - float_product.wall)
    notebook.cpu = float_product.cpu + scale * (notebook.cpu - float_product.cpu)
    print(f"Scoring, M {M} x n {n} x N {N}, both parts, best of {ROUNDS}")
    print(f"(the notebook's loop over {LOOP_TARGETS} targets, scaled to {N})")
    for name, timing in (("ldsboard, everything", ours), ("bare float64 product", product), ("notebook", notebook)):
        ratio = timing.wall / ours.wall
        print(f"  {name:22} wall {timing.wall:7.3f} s   cpu {timing.cpu:7.3f} s   {ratio:6.2f} x the time of ldsboard")


if __name__ == "__main__":
    main()
