"""The plan of a counterfactual evaluation: for which targets, without how many examples, and how often models are retrained.

Legend: n training examples, N targets, T targets of the plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from ldsboard.manifest import BundleError

if TYPE_CHECKING:
    from ldsboard.manifest import Manifest

CODE_VERSION = 1
"""Version of the code that trains models and computes falls; it is raised whenever the bits of a result change."""

REFUSED = 3
"""Exit status of ``python -m ldsboard.retraining`` if an evaluation is impossible: repeating it would not help."""

FRACTIONS = (0.0025, 0.005, 0.01, 0.02, 0.05)
"""Fractions of the training examples that are removed."""

HEADLINE = 0.01
"""The fraction of the number that the leaderboard shows."""

TARGETS, RUNS = 100, 3
"""Number of targets and of runs, unless the manifest names others."""


@dataclass(frozen=True)
class Plan:
    """The models of a counterfactual evaluation. It is the same for all score files of a benchmark.

    Attributes
    ----------
    targets
        Ascending indices of the T targets.
    sizes
        Ascending numbers of examples that are removed (k).
    headline
        The number of removed examples of the headline.
    runs
        Number of models for each removal, with different seeds.
    """

    targets: tuple[int, ...]
    sizes: tuple[int, ...]
    headline: int
    runs: int

    @classmethod
    def of(cls, manifest: Manifest, targets: int | None = None) -> Self:
        """Return the plan of a benchmark.

        The manifest can name the plan in ``recipe.counterfactual``, as ``{"targets": 50, "runs": 1}``.

        Parameters
        ----------
        manifest
            Manifest of the benchmark.
        targets
            Number of targets; by default that of the manifest, or `TARGETS`. The targets are spread evenly over all N.

        Raises
        ------
        BundleError
            The manifest names an impossible plan, or no training examples would be left.
        """
        named = manifest.recipe.get("counterfactual", {})
        asked = {"targets": TARGETS, "runs": RUNS} | (named if isinstance(named, dict) else {"": named})
        if set(asked) != {"targets", "runs"} or not all(type(value) is int and value > 0 for value in asked.values()):
            raise BundleError(
                f"The manifest of {manifest.name} names the counterfactual evaluation {named!r}, expected an object such as "
                f'{{"targets": {TARGETS}, "runs": {RUNS}}}.'
            )
        count = min(targets or asked["targets"], manifest.n_targets)
        spread = np.linspace(0, manifest.n_targets - 1, count).round().astype(int)
        n = manifest.n_train
        sizes = {fraction: max(1, round(fraction * n)) for fraction in FRACTIONS}
        if max(sizes.values()) >= n:
            raise BundleError(f"{manifest.name} has {n} training examples, too few to remove some of them.")
        return cls(tuple(spread.tolist()), tuple(sorted(set(sizes.values()))), sizes[HEADLINE], asked["runs"])
