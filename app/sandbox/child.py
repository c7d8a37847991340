"""The process that reads score files from strangers: it holds no credentials and knows no database.

It speaks with its parent through one pipe: a request as JSON; an answer as JSON, and after scores an ``.npz``. It ends when
the parent closes the pipe, and dies when the parent does.
"""

from __future__ import annotations

import io
import json
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard import GroundTruth, ProblemError
from ldsboard.bundle import Bundle

if TYPE_CHECKING:
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


@lru_cache(maxsize=4)
def ground_truth(folder: str) -> tuple[GroundTruth, dict[str, slice]]:
    """Return the ground truth of a published benchmark, ranked, and its parts."""
    masks_Mn, margins_MRN, parts = Bundle.open(Path(folder)).scored_arrays()
    return GroundTruth(masks_Mn, margins_MRN), parts


def score(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Score one file; return the numbers of every part that was asked for, and their arrays."""
    truth, parts = ground_truth(request["benchmark"])
    wanted = {name: parts[name] for name in request["parts"]}
    results = truth.score(request["scores"], splits=wanted)
    arrays = {f"{name}.influence": result.influence for name, result in results.items()}
    arrays |= {f"{name}.per_target": result.per_target for name, result in results.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes keywords for allow_pickle
    return {"parts": {name: numbers(result) for name, result in results.items()}}, buffer.getvalue()


def numbers(result: Result) -> dict[str, Any]:
    """Return the scalars of a result."""
    low, high = result.confidence_interval
    return {name: getattr(result, name) for name in NUMBERS} | {"ci_low": low, "ci_high": high}


def main(descriptor: int) -> None:
    """Answer the requests that come through an inherited file descriptor, until it is closed."""
    pipe = Connection(descriptor)
    while True:
        try:
            request = json.loads(pipe.recv_bytes())
        except EOFError:
            return
        arrays = b""
        try:
            answer, arrays = score(request)
        except ProblemError as error:
            answer = {"problem": error.problem.as_dict()}
        pipe.send_bytes(json.dumps(answer).encode())
        if arrays:
            pipe.send_bytes(arrays)
