"""Measure what scoring loses to a counterfactual evaluation on the same machine: ``python -m tests.bench.retraining``.

A server evaluates an entry by retraining, while it receives other score files. For every second file, the process that trains
is stopped by a signal until the file is scored, so that a busy machine slows both kinds of files equally.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import psutil

from tests.app.benchmarks import write_benchmark, write_trainable
from tests.app.service import Service, npy, until
from tests.bench.service import upload
from tests.processes import children, command_line

if TYPE_CHECKING:
    from collections.abc import Callable

n, N, PUBLIC, RANKING = 5000, 1000, 200, 800
ROUNDS = 15
EPOCHS = 5_000
"""Number of epochs of the retrained models, so that their evaluation outlasts the benchmark."""


def retraining(service: Service) -> int | None:
    """Return the pid of the process that trains for the server; None if there is none."""
    pids = [pid for pid in children(service.process.pid) if "-m ldsboard.retraining" in command_line(pid)]
    return pids[0] if pids else None


def measure(service: Service, file: Callable[[], bytes]) -> dict[str, list[tuple[float, float]]]:
    """Upload files while models are trained and while they are not, in turns.

    Return for each file the wall seconds from the end of its upload to its result, and the processor seconds of the process
    that trains.
    """
    token, pid = service.token("bench"), until(lambda: retraining(service), "a process that trains")
    trainer, taken = psutil.Process(pid), dict[str, list[tuple[float, float]]](trained=[], stopped=[])
    for turn in range(2 * (ROUNDS + 1)):
        kind, content = ("trained", "stopped")[turn % 2], file()
        os.kill(pid, signal.SIGCONT if kind == "trained" else signal.SIGSTOP)
        before = trainer.cpu_times().user
        seconds = upload(service, token, content).seen
        if turn > 1:  # the first of each kind warms up
            taken[kind].append((seconds, trainer.cpu_times().user - before))
    os.kill(pid, signal.SIGCONT)
    return taken


def main() -> None:
    """Run the benchmark and print its results."""
    rng = np.random.default_rng(1)
    with TemporaryDirectory() as name:
        folder = Path(name)
        trainable = write_trainable(folder / "trainable", epochs=EPOCHS)
        scored = write_benchmark(folder / "scored", "bench", n=n, N=N, public=PUBLIC, ranking=RANKING, noise=35.0)
        service = Service(folder / "service", counterfactual=True, ranked_per_day=1000, ranked_per_version=1000)
        for example in (trainable, scored):
            service.publish(example.folder)
        with service:
            service.submit_and_score(service.token("evaluated"), "toy", npy(trainable.scores()))
            taken = measure(service, lambda: npy(rng.normal(size=(n, N)).astype(np.float32)))
    print(f"Scoring beside retraining, M {PUBLIC + RANKING} x n {n} x N {N} float32, ranked, {ROUNDS} files each")
    print(f"  {'end of upload to result, s':44} {'best':>6} {'median':>7} {'worst':>6}   CPU s of training")
    for kind, text in (("stopped", "no models are trained"), ("trained", "models are trained")):
        seconds, processor = np.array(taken[kind]).T
        print(
            f"  {text:44} {seconds.min():6.3f} {np.median(seconds):7.3f} {seconds.max():6.3f}   {processor.sum():.1f}"
            f" in {seconds.sum():.1f}"
        )
    ratio = np.median([seconds for seconds, _ in taken["trained"]]) / np.median(
        [seconds for seconds, _ in taken["stopped"]]
    )
    print(f"  with / without training: {ratio:.2f} x")


if __name__ == "__main__":
    main()
