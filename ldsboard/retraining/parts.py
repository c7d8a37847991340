"""Parts of a counterfactual evaluation: models that are trained one after the other, and whose results are one file.

Parts have a fixed size, and a group never spans two parts: the numbers are the same however often an evaluation is interrupted.

Legend: K models of a group, N targets, T targets of the plan.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ldsboard.counterfactual.falls import OwnOutputs
from ldsboard.counterfactual.removals import draw_controls
from ldsboard.drafts import atomic_write
from ldsboard.manifest import BundleError
from ldsboard.retraining.retrainer import Removal, Retrainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ldsboard.counterfactual.falls import Outputs
    from ldsboard.counterfactual.plan import Plan
    from ldsboard.counterfactual.removals import Removals
    from ldsboard.retraining.kit import Kit

EVERYTHING, CONTROL = "everything", "control"
"""Kinds of parts beside those of `DIRECTIONS`: models on all examples, and models without random examples."""


class Part(NamedTuple):
    """Models that are trained without a break: their kind, the number of removed examples, and the targets of the plan.

    `first` and `stop` count the targets of the plan; both are 0 for the kinds `EVERYTHING` and `CONTROL`.
    """

    kind: str
    removed: int
    first: int = 0
    stop: int = 0

    @property
    def is_shared(self) -> bool:
        """Whether all score files of a benchmark share this part."""
        return self.kind in (EVERYTHING, CONTROL)

    @property
    def file(self) -> str:
        """Name of the part's file."""
        return f"{self.kind}-{self.removed}-{self.first}-{self.stop}.npz"


@dataclass(frozen=True)
class PartTrainer:
    """Trains parts of an evaluation. It is pickled for the processes that train."""

    kit: Kit
    plan: Plan
    removals: Removals

    def prepare(self) -> Callable[[tuple[Part, Path]], Iterator[int | BundleError]]:
        """Return a function that trains a part, writes its file, and yields the number of models after each group.

        A part that another process has written meanwhile is not trained. An error that the user can understand is yielded, since
        an error in another process would arrive as a traceback.
        """
        retrainer = Retrainer(self.kit, self.plan.runs)

        def work(task: tuple[Part, Path]) -> Iterator[int | BundleError]:
            part, path = task
            if path.exists():
                yield len(self._removals(part))
                return
            try:
                yield from self._train(retrainer, part, path)
            except BundleError as error:
                yield error

        return work

    def _removals(self, part: Part) -> list[Removal]:
        """Return the models of a part."""
        sets: Any
        if part.kind == EVERYTHING:
            sets = np.empty((1, 0), dtype=np.int64)
        elif part.kind == CONTROL:
            sets = draw_controls(self.kit.seed, part.removed, len(self.kit.train.labels))
        else:
            sets = self.removals.examples[part.kind][part.first : part.stop, : part.removed]
        return [Removal(run, examples) for examples in sets for run in range(self.plan.runs)]

    def _train(self, retrainer: Retrainer, part: Part, path: Path) -> Iterator[int]:
        start, together = time.process_time(), retrainer.recipe.GROUP
        removals = self._removals(part)
        targets = np.repeat(np.array(self.plan.targets[part.first : part.stop], dtype=np.int64), self.plan.runs)
        found: list[Outputs | OwnOutputs] = []
        for first in range(0, len(removals), together):
            group = slice(first, first + together)
            outputs = retrainer.retrain(removals[group])
            if not np.isfinite(outputs.margins).all():
                which = f"without {part.removed} training examples ({part.kind})" if part.removed else "on all examples"
                raise BundleError(
                    f"A model of {self.kit.benchmark} trained {which} has margins that are not finite. Repeating trains the same "
                    "models: the recipe does not allow this evaluation."
                )
            found.append(outputs if part.is_shared else OwnOutputs.of(outputs, targets[group], self.kit.target.labels))
            yield len(outputs.margins)
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(each, name) for each in found]) for name in found[0]._fields
        }
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_write(path, keep_existing=True) as file:
            np.savez(file, **arrays, seconds=np.array(time.process_time() - start))
