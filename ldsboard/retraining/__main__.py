"""``python -m ldsboard.retraining``: evaluate one score file for the service, in a process with the lowest priority.

The service starts this process, reads its progress from standard output, one fraction in each line, and reads the result from a
file. The exit status is 0 after a result, and `REFUSED` if the evaluation is impossible, with the reason on standard error. Any
other end, such as by a signal, is a failure that the service tries again; finished parts are kept.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.arrays.scores import check_finite, check_shape, is_turned
from ldsboard.bundle import Bundle
from ldsboard.counterfactual.plan import REFUSED, Plan
from ldsboard.counterfactual.removals import DIRECTIONS, Removals
from ldsboard.drafts import atomic_write
from ldsboard.formats.score_files import open_scores
from ldsboard.manifest import BundleError
from ldsboard.problems import ProblemError
from ldsboard.retraining.evaluation import Evaluation
from ldsboard.retraining.kit import Kit
from ldsboard.retraining.processes import kill_with_parent

if TYPE_CHECKING:
    from ldsboard.counterfactual.result import CounterfactualResult

PROBE = 60
"""Number of models after which the processor time of all is judged; groups of a few models take longer for each."""

START_SECONDS = 60
"""Processor time for everything but the models, in seconds."""


def main() -> None:
    """Read the arguments, evaluate the score file, and write the result."""
    parser = argparse.ArgumentParser(
        prog="python -m ldsboard.retraining", description="Retrain models without examples."
    )
    parser.add_argument("benchmark", type=Path, help="folder of the benchmark")
    parser.add_argument("scores", type=Path, help="score file, as the server stores it")
    parser.add_argument("--parts", type=Path, required=True, help="folder for finished parts")
    parser.add_argument("--out", type=Path, required=True, help=".npz file to write")
    parser.add_argument("--seconds", type=float, required=True, help="largest processor time of the models that remain")
    parser.add_argument("--memory", type=int, required=True, help="largest memory of this process in bytes")
    options = parser.parse_args()
    end_with_service()
    yield_to_others()
    limit(options.seconds, options.memory)
    try:
        evaluation = open_evaluation(options.benchmark, options.scores, options.parts)
        train(evaluation, options.seconds)
        write(evaluation.result(), options.out)
    except (BundleError, ProblemError) as error:
        print(error, file=sys.stderr)  # noqa: T201 -- read by the service
        sys.exit(REFUSED)


def end_with_service() -> None:
    """End this process at once when its standard input ends, because the service has ended; on Linux even while it is stopped."""

    def wait() -> None:
        while os.read(0, 1):  # not `sys.stdin`, whose lock would be held when the interpreter ends
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    kill_with_parent()


def yield_to_others() -> None:
    """Let every other process of the machine go first."""
    os.nice(19)
    if sys.platform == "linux":
        with suppress(PermissionError):  # some containers allow `nice` only
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def limit(seconds: float, memory: int) -> None:
    """Limit the processor time of this process, above what `train` allows, and its memory without mapped files."""
    for kind, largest in ((resource.RLIMIT_CPU, math.ceil(seconds) + START_SECONDS), (resource.RLIMIT_DATA, memory)):
        hard = resource.getrlimit(kind)[1]
        allowed = largest if hard == resource.RLIM_INFINITY else min(largest, hard)
        resource.setrlimit(kind, (allowed, hard))


def open_evaluation(folder: Path, scores: Path, parts: Path) -> Evaluation:
    """Return the evaluation of a score file, whose finished parts are in the folder `parts`."""
    bundle = Bundle.open(folder)
    n, N = bundle.manifest.n_train, bundle.manifest.n_targets
    array = open_scores(scores)
    array = array.T if is_turned(array.shape, n, N) else array
    check_shape(array.shape, n, N)
    check_finite(array)
    plan = Plan.of(bundle.manifest)
    return Evaluation(Kit.of(bundle), plan, Removals.of(array, plan), parts)


def train(evaluation: Evaluation, seconds: float) -> None:
    """Train what is missing, and print after each group which fraction is done.

    Raises
    ------
    BundleError
        The models that were not trained before take more processor time than `seconds`; estimated once `PROBE` are trained.
    """
    for folder in {evaluation.path(part).parent for part in evaluation.parts}:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(folder)  # folders that are in use are not deleted
    missing = evaluation.missing()
    left, total = (sum(map(evaluation.models, parts)) for parts in (missing, evaluation.parts))
    start, trained = time.process_time(), 0
    for models in evaluation.train(missing):
        trained += models
        used = time.process_time() - start
        needed = used / trained * left
        if used > seconds or (trained >= PROBE and needed > seconds):
            raise BundleError(
                f"The models of this evaluation that remain take about {needed:,.0f} s of processor time, "
                f"and the server allows {seconds:,.0f} s."
            )
        print((total - left + trained) / total, flush=True)  # noqa: T201 -- read by the service


def write(result: CounterfactualResult, out: Path) -> None:
    """Write the result: the plan, the rows and the processor time as JSON, and the falls of each target, float64 (sizes, T)."""
    plan = result.plan
    numbers = {
        "targets": list(plan.targets),
        "sizes": list(plan.sizes),
        "headline": plan.headline,
        "runs": plan.runs,
        "before": result.before.tolist(),
        "rows": result.rows(),
        "seconds": result.seconds,
    }
    falls = {kind: result.margins(kind) for kind in DIRECTIONS}
    with atomic_write(out) as file:
        np.savez(file, numbers=np.array(json.dumps(numbers)), **falls)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
