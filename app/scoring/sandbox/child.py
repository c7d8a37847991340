"""The process that reads one score file from a stranger: it holds no credentials and knows no database.

It is forked from the fork server, shares the ground truth there, and speaks with the service through one socket: an answer as
JSON, and after scores an ``.npz``. It ends when it has answered, and dies when the fork server ends or the service hangs up.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from app.scoring.sandbox import limits
from app.scoring.sandbox.attributions import Attributions
from app.scoring.sandbox.lifeline import die_with
from app.scoring.sandbox.truths import ground_truth
from ldsboard import ProblemError
from ldsboard.formats import file_header, open_scores
from ldsboard.scores import check_shape

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from ldsboard import GroundTruth
    from ldsboard.headers import ScoreArray
    from ldsboard.result import Result

NUMBERS = (
    "lds",
    "std_error",
    "mean_p",
    "z_random",
    "std_error_new_targets",
    "constant_predictions",
    "grid_loss",
    "warnings",
)


def run(request: dict[str, Any], service: Connection, parent: int) -> NoReturn:
    """Do all that a forked process does, and end it; nothing of the fork server's own course is taken up."""
    status = 1
    try:
        seal(service, parent)
        answer(request, service)
        status = 0
    except BaseException as error:  # noqa: BLE001 -- the process ends here, whatever it was
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            status = limits.OUT_OF_MEMORY
        traceback.print_exc()
    finally:
        os._exit(status)


def seal(service: Connection, parent: int) -> None:
    """Give up what was inherited, and be bound to the fork server and to the service."""
    die_with(parent)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    os.closerange(3, service.fileno())
    os.closerange(service.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    limits.hold_process()
    if sys.platform == "linux":
        # Hanging up raises SIGIO, which ends a process that does not ask for it: in the midst of any computation.
        fcntl.fcntl(service, fcntl.F_SETOWN, os.getpid())
        _raise_sigio(service, os.O_ASYNC)
    if service.poll(0):  # nothing more is ever said: it hung up before
        os._exit(1)


def _raise_sigio(service: Connection, flag: int) -> None:
    fcntl.fcntl(service, fcntl.F_SETFL, fcntl.fcntl(service, fcntl.F_GETFL) & ~os.O_ASYNC | flag)


def answer(request: dict[str, Any], service: Connection) -> None:
    """Score the file and send what was found, or what is wrong with it."""
    truth, parts = ground_truth(request["benchmark"])  # whatever is wrong with that is not the file's fault
    arrays = b""
    try:
        scores_nN = opened(request["scores"], truth, request["threads"])
        found, arrays = score(scores_nN, truth, {name: parts[name] for name in request["parts"]}, request["threads"])
    except ProblemError as error:
        found = {"problem": error.problem.as_dict()}
    # A long answer waits for the service to read, and then SIGIO would say that it did.
    _raise_sigio(service, 0)
    service.send_bytes(json.dumps(found).encode())
    if arrays:
        service.send_bytes(arrays)


def opened(path: str, truth: GroundTruth, threads: int) -> ScoreArray:
    """Open a file that fits the ground truth, within limits that follow from what its header says."""
    header = file_header(path)
    check_shape(header.shape, truth.n_train, truth.n_targets)  # before anything is inflated
    limits.hold_work(len(truth.masks_Mn), truth.n_train, truth.n_targets, header.data_size, threads)
    return open_scores(path)


def score(
    scores_nN: ScoreArray, truth: GroundTruth, parts: dict[str, slice], threads: int
) -> tuple[dict[str, Any], bytes]:
    """Score one file; return the numbers of every part that was asked for, and their arrays and those of its attributions."""
    results = truth.score(scores_nN, splits=parts, threads=threads)
    shown = Attributions.of(scores_nN, truth, parts["public"], results["public"].per_target)
    arrays = {f"{name}.influence": result.influence for name, result in results.items()}
    arrays |= {f"{name}.per_target": result.per_target for name, result in results.items()}
    arrays |= {f"attributions.{name}": values for name, values in shown._asdict().items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes keywords for allow_pickle
    return {"parts": {name: numbers(result) for name, result in results.items()}}, buffer.getvalue()


def numbers(result: Result) -> dict[str, Any]:
    """Return the scalars of a result."""
    low, high = result.confidence_interval
    return {name: getattr(result, name) for name in NUMBERS} | {"ci_low": low, "ci_high": high}
