"""The targets of a submission as its page shows them: the best and the worst, and one that was chosen, in full.

Legend: N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from app.scoring import attributions
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from app.benchmarks.examples import Examples, Part
    from app.db.models import Evaluation

EXTREME = 3
"""The best targets that the page lists, and the worst."""

MOST_POINTS = 1000
"""Points of a scatter; of more public subsets the first ones are drawn."""


@dataclass(frozen=True)
class Card:
    """A training example with its score, or a target with its correlation; label and picture's address where there are any."""

    index: int
    label: str | None
    picture: str | None
    value: float


class Chosen(NamedTuple):
    """A target in full; without points and examples where nothing of it was kept."""

    card: Card
    points: list[tuple[float, float]]
    subsets: int
    proponents: list[Card]
    opponents: list[Card]

    def alike(self, cards: list[Card]) -> int:
        """Return how many examples have the label of the target."""
        return sum(card.label == self.card.label for card in cards)


class Targets(NamedTuple):
    """What a submission's page shows of its targets; ``shown`` are those of which something was kept."""

    shown: list[Card]
    best: list[Card]
    worst: list[Card]
    chosen: Chosen


def card(examples: Examples, part: Part, index: int, value: float) -> Card:
    """Return the card of an example."""
    manifest = examples.manifest
    picture = f"/benchmarks/{manifest['name']}/images/{part}/{index}.png?version={manifest['version']}"
    return Card(index, examples.label(part, index), picture if examples.have_pictures else None, value)


def targets(
    session: Session, evaluation: Evaluation, examples: Examples, rho_N: NDArray[np.float64], wanted: int | None
) -> Targets:
    """Return what to show of the targets of an evaluation with the public correlations rho, (N,).

    Parameters
    ----------
    wanted
        The target to show in full; by default, of those of which something was kept, the one most like the mean.

    Raises
    ------
    ProblemError
        ``request.invalid``: there is no such target.
    """
    N = rho_N.size
    if wanted is not None and wanted >= N:
        raise ProblemError(
            "request.invalid",
            expected=f"a target from 0 to {N - 1}",
            got=str(wanted),
            hint="Choose one on the page of the submission.",
        )

    def cards(of: Any) -> list[Card]:
        return [card(examples, "target", int(target), float(rho_N[target])) for target in of]

    kept = attributions.targets(session, evaluation)
    chosen = wanted if wanted is not None else attributions.typical(rho_N, kept or range(N))
    few = min(EXTREME, N // 2)
    return Targets(
        cards(kept),
        cards(np.argsort(-rho_N, kind="stable")[:few]),
        cards(np.argsort(rho_N, kind="stable")[:few]),
        _in_full(session, evaluation, examples, cards([chosen])[0]),
    )


def _in_full(session: Session, evaluation: Evaluation, examples: Examples, target: Card) -> Chosen:
    found = attributions.of(session, evaluation, target.index)
    if found is None:
        return Chosen(target, [], 0, [], [])
    actual_M = examples.margins(target.index)
    drawn = slice(MOST_POINTS)
    points = zip(found.predictions_M[drawn].tolist(), actual_M[drawn].tolist(), strict=True)
    proponents, opponents = (
        [card(examples, "train", index, score) for index, score in side] for side in (found.proponents, found.opponents)
    )
    return Chosen(target, [point for point in points if np.isfinite(point[0])], actual_M.size, proponents, opponents)
