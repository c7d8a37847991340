"""The targets section of a submission's page: best and worst targets, and one target in detail.

Legend: N targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.benchmarks.examples import Examples, ExampleSet
from app.db.models import Evaluation
from app.leaderboard.falls import TargetFalls, target_falls
from app.scoring import stored_attributions
from app.scoring.stored_attributions import TargetAttribution
from ldsboard.problems import ProblemError

MAX_EXTREMES = 3
"""Maximum number of best targets, and of worst targets, that the page lists."""

MAX_POINTS = 1000
"""Maximum number of points in a scatter plot. If there are more public subsets, only the first are drawn."""


@dataclass(frozen=True)
class Card:
    """A training example or a target, as the page shows it.

    Attributes
    ----------
    label
        None if the benchmark has no labels.
    image
        Address of the image; None if the benchmark has no public images that can be drawn.
    value
        Score of a training example, or rho of a target on the public subsets.
    """

    index: int
    label: str | None
    image: str | None
    value: float


class Chosen(NamedTuple):
    """The target that the page shows in detail.

    If the evaluation saved no attributions of the target, all lists are empty and `subsets` is 0.

    Attributes
    ----------
    points
        Prediction and margin on each of the first `MAX_POINTS` public subsets, without subsets whose prediction is not finite.
    subsets
        Number of all public subsets, with or without a point.
    falls
        How the margin of the target changes without examples; None if no models were retrained for the target.
    nearest
        Index of the nearest target for which models were retrained; None if that is this target, or if there is none.
    """

    card: Card
    points: list[tuple[float, float]]
    subsets: int
    proponents: list[Card]
    opponents: list[Card]
    falls: TargetFalls | None
    nearest: int | None

    def count_same_label(self, cards: list[Card]) -> int:
        """Return how many of the training examples in `cards` have the label of the chosen target."""
        return sum(card.label == self.card.label for card in cards)


class Targets(NamedTuple):
    """The targets on a submission's page.

    `saved` lists the targets whose attributions the evaluation saved, and `retrained` the others for which models were retrained.
    """

    saved: list[Card]
    retrained: list[Card]
    best: list[Card]
    worst: list[Card]
    chosen: Chosen


def card(examples: Examples, part: ExampleSet, index: int, value: float) -> Card:
    """Return the card of a training example or of a target.

    Parameters
    ----------
    part
        ``train`` for a training example, ``target`` for a target.
    index
        Index of the training example, or of the target.
    value
        Score of the training example, or rho of the target on the public subsets.
    """
    manifest = examples.manifest
    image = f"/benchmarks/{manifest['name']}/images/{part}/{index}.png?version={manifest['version']}"
    return Card(index, examples.label(part, index), image if examples.has_images else None, value)


def targets(
    session: Session,
    evaluation: Evaluation,
    examples: Examples,
    rho_N: NDArray[np.float64],
    wanted: int | None,
    retrained: Sequence[int] = (),
) -> Targets:
    """Return the targets to show for an evaluation.

    Parameters
    ----------
    rho_N
        rho of each target on the public subsets, float64 (N,).
    wanted
        Index of the target to show in detail. If None, the target is chosen whose rho is closest to the mean rho over all
        targets. If any targets have saved attributions, only these targets are considered; if any of them are in `retrained`,
        only these.
    retrained
        Indices of the targets for which models were retrained without examples, ascending.

    Raises
    ------
    ProblemError
        ``request.invalid``: `wanted` is N or larger.
    """
    N = rho_N.size
    if wanted is not None and wanted >= N:
        raise ProblemError.mismatch(
            "request.invalid",
            expected=f"a target from 0 to {N - 1}",
            got=str(wanted),
            hint="Choose a target on the page of the submission.",
        )

    def cards(indices: Any) -> list[Card]:
        return [card(examples, "target", int(target), float(rho_N[target])) for target in indices]

    saved = stored_attributions.load(session, evaluation)
    both = [target for target in saved if target in retrained]
    shown = wanted if wanted is not None else stored_attributions.typical_target(rho_N, both or saved or range(N))
    (chosen,) = cards([shown])
    falls = target_falls(session, evaluation.version, evaluation.submission_id, chosen.index) if retrained else None
    nearest = None
    if falls is None and retrained:
        nearest = min(retrained, key=lambda target: abs(target - chosen.index))
    n_extremes = min(MAX_EXTREMES, N // 2)
    return Targets(
        cards(saved),
        cards(sorted(set(retrained) - set(saved))),
        cards(np.argsort(-rho_N, kind="stable")[:n_extremes]),
        cards(np.argsort(rho_N, kind="stable")[:n_extremes]),
        _chosen_target(saved, examples, chosen)._replace(falls=falls, nearest=nearest),
    )


def _chosen_target(found: dict[int, TargetAttribution], examples: Examples, target: Card) -> Chosen:
    if (saved := found.get(target.index)) is None:
        return Chosen(target, [], 0, [], [], None, None)
    actual_M = examples.margins(target.index)
    drawn = slice(MAX_POINTS)
    points = zip(saved.predictions_M[drawn].tolist(), actual_M[drawn].tolist(), strict=True)
    proponents, opponents = (
        [card(examples, "train", index, score) for index, score in side] for side in (saved.proponents, saved.opponents)
    )
    finite = [point for point in points if np.isfinite(point[0])]
    return Chosen(target, finite, actual_M.size, proponents, opponents, None, None)
