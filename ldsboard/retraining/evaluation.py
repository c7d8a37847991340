"""Evaluate a score file by retraining: in parts, each a file, so that an interrupted evaluation goes on where it was.

The models on all examples and those without random examples are trained once for each benchmark, and kept.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.counterfactual.falls import Known, Outputs, OwnOutputs
from ldsboard.counterfactual.plan import CODE_VERSION
from ldsboard.counterfactual.removals import CONTROLS, DIRECTIONS
from ldsboard.counterfactual.result import CounterfactualResult
from ldsboard.drafts import NPZ_ERRORS
from ldsboard.manifest import BundleError
from ldsboard.retraining import device, processes
from ldsboard.retraining.parts import CONTROL, EVERYTHING, Part, PartTrainer
from ldsboard.retraining.recipe import has_convolutions
from ldsboard.retraining.recipe_file import load_recipe

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from ldsboard.counterfactual.plan import Plan
    from ldsboard.counterfactual.removals import Removals
    from ldsboard.retraining.kit import Kit
    from ldsboard.retraining.recipe import Recipe


@dataclass(frozen=True)
class Evaluation:
    """The counterfactual evaluation of a score file.

    Attributes
    ----------
    kit
        The benchmark.
    plan
        The plan of the benchmark.
    removals
        The examples to remove.
    folder
        Folder for the parts of all evaluations. Each benchmark and each score file has a folder there, named by the sha256 of
        everything that decides its numbers.
    """

    kit: Kit
    plan: Plan
    removals: Removals
    folder: Path

    @cached_property
    def parts(self) -> list[Part]:
        """All parts, those of the headline first."""
        sizes = sorted(self.plan.sizes, key=lambda size: size != self.plan.headline)
        block = self._recipe.GROUP  # targets of a part, each with all runs
        blocks = [
            (first, min(first + block, len(self.plan.targets))) for first in range(0, len(self.plan.targets), block)
        ]
        return [Part(EVERYTHING, 0)] + [
            part
            for size in sizes
            for part in (Part(CONTROL, size), *(Part(kind, size, *ends) for kind in DIRECTIONS for ends in blocks))
        ]

    def models(self, part: Part) -> int:
        """Return the number of models of a part."""
        sets = {EVERYTHING: 1, CONTROL: CONTROLS}.get(part.kind, part.stop - part.first)
        return sets * self.plan.runs

    def path(self, part: Part) -> Path:
        """Return the path of a part's file."""
        return self.folder / (self._shared_digest if part.is_shared else self._digest) / part.file

    def missing(self) -> list[Part]:
        """Return the parts that are still to be trained."""
        return [part for part in self.parts if not self.path(part).exists()]

    def train(self, parts: list[Part], count: int = 1) -> Generator[int]:
        """Train parts in `count` processes, or in this one, and yield the number of models after each group.

        Raises
        ------
        BundleError
            The recipe cannot train on so many examples, or a model diverged.
        ProcessError
            A process failed or was killed.
        """
        tasks = [(part, self.path(part)) for part in parts]
        trainer = PartTrainer(self.kit, self.plan, self.removals)
        if count == 1:
            work = trainer.prepare()
            reports = (report for task in tasks for report in work(task))
        else:
            reports = processes.run(trainer.prepare, tasks, min(count, len(tasks)))
        with closing(reports):
            for report in reports:
                if isinstance(report, BundleError):
                    raise report
                yield report

    def result(self) -> CounterfactualResult:
        """Return the result; all parts must be trained.

        Raises
        ------
        BundleError
            The file of a part is damaged.
        """
        seconds = 0.0
        outputs: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for part in self.parts:
            arrays = self._read(part)
            used = float(arrays.pop("seconds"))
            seconds += 0.0 if part.is_shared else used
            outputs.setdefault((part.kind, part.removed), []).append(arrays)

        def joined(kind: str, size: int, form: Any) -> Any:
            found = outputs[kind, size]
            return form(*(np.concatenate([arrays[name] for arrays in found]) for name in form._fields))

        known = Known(
            joined(EVERYTHING, 0, Outputs),
            {
                size: Outputs(
                    *(values.reshape(CONTROLS, self.plan.runs, -1) for values in joined(CONTROL, size, Outputs))
                )
                for size in self.plan.sizes
            },
            self.kit.target.labels,
        )
        after = {
            (kind, size): OwnOutputs(
                *(values.reshape(len(self.plan.targets), self.plan.runs) for values in joined(kind, size, OwnOutputs))
            )
            for kind in DIRECTIONS
            for size in self.plan.sizes
        }
        return CounterfactualResult.of(self.plan, self.removals, self.kit.train.labels, known, after, seconds)

    @cached_property
    def _recipe(self) -> Recipe:
        return load_recipe(self.kit.recipe)

    @cached_property
    def _shared_digest(self) -> str:
        arithmetic = device.arithmetic(device.CPU, has_convolutions=has_convolutions(self._recipe.build()))
        plan = {name: value for name, value in asdict(self.plan).items() if name != "targets"}
        code = {"retraining": CODE_VERSION, "numpy": np.__version__, "controls": CONTROLS}
        return _digest(self.kit.identity() | arithmetic | plan | code)

    @cached_property
    def _digest(self) -> str:
        removed = {kind: sha256(examples.tobytes()).hexdigest() for kind, examples in self.removals.examples.items()}
        return _digest({"shared": self._shared_digest, "targets": self.plan.targets, **removed})

    def _read(self, part: Part) -> dict[str, Any]:
        path = self.path(part)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except (FileNotFoundError, PermissionError):
            raise
        except NPZ_ERRORS as error:
            raise BundleError(f"{path} is damaged. Delete the file and repeat the command.") from error


def _digest(members: dict[str, Any]) -> str:
    return sha256(json.dumps(members, sort_keys=True).encode()).hexdigest()[:32]
