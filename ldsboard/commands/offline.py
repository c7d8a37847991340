"""Open pulled benchmarks, and score arrays, for the commands that work offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldsboard.bundle import Bundle
from ldsboard.cache import other_server_note, pulled_from_any
from ldsboard.commands.exits import errors
from ldsboard.commands.progress import scoring_bar
from ldsboard.groundtruth import GroundTruth

if TYPE_CHECKING:
    from ldsboard.core.result import Result
    from ldsboard.formats.headers import ScoreArray


def open_pulled(name: str, server: str | None) -> Bundle:
    """Return the pulled benchmark of this name; a benchmark pulled from `server` is preferred.

    If the cache has the benchmark only from another server, that benchmark is returned, and a note is printed on standard error.
    Offline commands therefore also work if the address of the server was changed after the pull.

    Raises
    ------
    BundleError
        The cache holds no benchmark of this name, different ones from several other servers, or a damaged one.
    ProblemError
        ``request.invalid``: the address of the server is not valid.
    """
    opened = pulled_from_any(name, server)
    if note := other_server_note(opened, name, server):
        errors.print(f"Note: {note}", markup=False)
    return Bundle.open(opened)


def pulled_truth(name: str, server: str | None) -> GroundTruth:
    """Open a benchmark with `open_pulled`, and return the subsets that its public LDS uses, and their margins."""
    return truth_of(open_pulled(name, server))


def truth_of(bundle: Bundle) -> GroundTruth:
    """Return the subsets of a pulled benchmark that its public LDS uses, and their margins."""
    rows = bundle.manifest.public_rows
    return GroundTruth(bundle.masks[rows], bundle.margins_MRN[rows])


def score_visibly(truth: GroundTruth, scores_nN: ScoreArray, name: str, *, bar: bool = True) -> Result:
    """Score an array; if this takes longer than a second, show a progress bar with the name of the array.

    No bar is shown with `bar` False, or if standard error is not a terminal.
    """
    if not bar:
        return truth.score(scores_nN)
    with scoring_bar(errors, f"Scoring {name}") as progress:
        return truth.score(scores_nN, progress=progress)
