"""The scoring process: it reads one untrusted score file, holds no credentials and cannot reach the database.

The fork server forks the scoring process, so the scoring process shares the ground truth in the fork server's memory. Through a
socket, the scoring process sends heartbeats, which carry its progress, and then one answer to the service: JSON, followed by an
``.npz`` if the file was scored. The scoring process exits after the answer, and dies when the fork server ends or the service
closes the socket.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from app.errors import DamagedFileError
from app.scoring.sandbox import limits
from app.scoring.sandbox.attributions import Attributions
from app.scoring.sandbox.heartbeat import beating, send
from app.scoring.sandbox.lifeline import die_with_parent
from app.scoring.sandbox.truths import load_ground_truth
from ldsboard import ProblemError
from ldsboard.arrays.scores import check_shape, is_turned
from ldsboard.bundle import sha256
from ldsboard.formats.score_files import file_header, open_scores

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from ldsboard import GroundTruth
    from ldsboard.core.result import Result
    from ldsboard.formats.headers import ScoreArray

TRANSPOSED = "scores.was_transposed"
NUMBERS = (
    "lds",
    "std_error",
    "mean_p",
    "z_random",
    "p_random",
    "std_error_new_targets",
    "constant_predictions",
    "grid_loss",
    "warnings",
)


def run(request: dict[str, Any], service: Connection, parent: int) -> NoReturn:
    """Answer one request, then end the process, so that the forked child never returns into the code of the fork server.

    The exit status is 0 after an answer, `limits.OUT_OF_MEMORY` if memory could not be allocated, and 1 after another error.
    """
    status = 1
    try:
        isolate(service, parent)
        answer(request, service)
        status = 0
    except BaseException as error:  # noqa: BLE001 -- the process ends here whatever the error is
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            status = limits.OUT_OF_MEMORY
        traceback.print_exc()
    finally:
        os._exit(status)


def isolate(service: Connection, parent: int) -> None:
    """Close inherited descriptors, set limits, and make this process end when the fork server ends or the service disconnects."""
    die_with_parent(parent)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    os.closerange(3, service.fileno())
    os.closerange(service.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    limits.limit_process()
    if sys.platform == "linux":
        # When the service closes the socket, the kernel sends SIGIO. The default action of SIGIO ends this process, even in a
        # computation.
        fcntl.fcntl(service, fcntl.F_SETOWN, os.getpid())
        _set_async_flag(service, os.O_ASYNC)
    if service.poll(0):  # the service sends nothing after the request, so a readable socket means that it is closed
        os._exit(1)


def _set_async_flag(service: Connection, flag: int) -> None:
    fcntl.fcntl(service, fcntl.F_SETFL, fcntl.fcntl(service, fcntl.F_GETFL) & ~os.O_ASYNC | flag)


def answer(request: dict[str, Any], service: Connection) -> None:
    """Score the file that a request names, and send the result to the service.

    If the file cannot be scored, the answer is the problem. If the file does not have the SHA-256 in the request, the answer says
    that the file is damaged.
    """
    arrays = b""
    with beating(service.fileno()) as report:
        truth, parts = load_ground_truth(
            request["benchmark"]
        )  # outside the try: errors here are not problems of the file
        try:
            # The hash comes first: damage in the header would otherwise look like a problem of the owner's file.
            check_hash(Path(request["scores"]), request["sha256"])
            scores_nN = open_checked(request["scores"], truth, request["threads"])
            found, arrays = score(
                scores_nN, truth, {name: parts[name] for name in request["parts"]}, request["threads"], report
            )
            if file_header(request["scores"]).shape != scores_nN.shape:
                for part in found["parts"].values():
                    part["warnings"].append(TRANSPOSED)
        except ProblemError as error:
            found = {"problem": error.problem.as_dict()}
        except DamagedFileError as error:
            found = {"damaged": str(error)}
    # Sending a long answer blocks until the service reads, and each read would send SIGIO.
    _set_async_flag(service, 0)
    send(service.fileno(), json.dumps(found).encode())
    if arrays:
        send(service.fileno(), arrays)


def check_hash(path: Path, expected: str | None) -> None:
    """Raise a DamagedFileError if the SHA-256 of a file is not `expected`; check nothing if `expected` is None."""
    if expected is not None and (got := sha256(path)) != expected:
        raise DamagedFileError(f"{path} has the sha256 {got}")


def open_checked(path: str, truth: GroundTruth, threads: int) -> ScoreArray:
    """Return the scores of a file, (n, N), after checking the shape in its header against the ground truth.

    A file of which only the transpose has this shape is transposed. Before the scores are read, the memory and CPU time of this
    process are limited to what a file of this shape and size needs.

    Raises
    ------
    ProblemError
        The file cannot be read, or has another shape.
    """
    header = file_header(path)
    turned = is_turned(header.shape, truth.n_train, truth.n_targets)
    if not turned:
        check_shape(header.shape, truth.n_train, truth.n_targets)  # before any data is decompressed
    limits.limit_work(truth.n_subsets, truth.n_train, truth.n_targets, header.data_size, threads)
    return open_scores(path).T if turned else open_scores(path)


def score(
    scores_nN: ScoreArray,
    truth: GroundTruth,
    parts: dict[str, slice],
    threads: int,
    report: Callable[[float], object] | None = None,
) -> tuple[dict[str, Any], bytes]:
    """Score one file against each part of the ground truth; return the two messages of the answer.

    Parameters
    ----------
    parts
        The rows of the subsets of each part, by name. The attributions are those of the part ``public``, which is required.
    report
        Function that gets the fraction of the targets that are scored.

    Returns
    -------
    dict
        ``parts``: for each name in `parts`, the `numbers` of the result.
    bytes
        An ``.npz`` with the arrays ``NAME.influence`` and ``NAME.per_target`` for each NAME in `parts`, and the array
        ``attributions.FIELD`` for each FIELD of `Attributions`.
    """
    results = truth.score(scores_nN, splits=parts, threads=threads, progress=report)
    shown = Attributions.of(scores_nN, truth, parts["public"], results["public"].per_target)
    arrays = {f"{name}.influence": result.influence for name, result in results.items()}
    arrays |= {f"{name}.per_target": result.per_target for name, result in results.items()}
    arrays |= {f"attributions.{name}": values for name, values in shown._asdict().items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes keywords for allow_pickle
    return {"parts": {name: numbers(result) for name, result in results.items()}}, buffer.getvalue()


def numbers(result: Result) -> dict[str, Any]:
    """Return the scalars of a result by name: `NUMBERS`, and the ends of the 95 % interval, ``ci_low`` and ``ci_high``."""
    low, high = result.confidence_interval
    return {name: getattr(result, name) for name in NUMBERS} | {"ci_low": low, "ci_high": high}
