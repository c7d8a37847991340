"""Submit scores from Python, and look at a submission: `submit` and `submission`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from ldsboard import environment
from ldsboard.arrays.scores import check_finite, check_shape, is_turned, read_scores
from ldsboard.core.result import WARNINGS
from ldsboard.notebook_table import notebook_table
from ldsboard.problems import Problem, ProblemError
from ldsboard.temporary_scores import score_file

if TYPE_CHECKING:
    from ldsboard.client import Client


@dataclass(frozen=True, repr=False)
class Submission:
    """A submission on a server, as the server described it.

    Attributes
    ----------
    id : str
        Id of the submission.
    state : str
        ``scored``, or the state that the submission had when the server answered.
    benchmark, version : str, int
        The benchmark that the scores were submitted to.
    owner, method, kind, visibility : str
        The owner, the name of the method, ``ranked`` or ``practice``, and who can see the submission.
    url : str
        Address of the submission's page.
    part : str
        The subsets that the numbers below come from: ``ranking`` for a ranked submission, ``public`` for practice.
    lds, std_error : float or None
        The LDS and its standard error; None until the submission is scored.
    confidence_interval : tuple of float, or None
        95 % interval (low, high) of the LDS; None until the submission is scored.
    rank : tuple of int, or None
        Rank interval on the leaderboard; None for a submission that is not listed.
    warnings : list of str
        Codes of the warnings about the scores; `ldsboard.core.result.WARNINGS` has the text of each code.
    details : dict
        The whole answer of the server, with the numbers of both parts.
    """

    id: str
    state: str
    benchmark: str
    version: int
    owner: str
    method: str
    kind: str
    visibility: str
    url: str
    part: str
    lds: float | None
    std_error: float | None
    confidence_interval: tuple[float, float] | None
    rank: tuple[int, int] | None
    warnings: list[str]
    details: dict[str, Any] = field(compare=False)

    @classmethod
    def of(cls, view: dict[str, Any], server: str) -> Self:
        """Return the submission that the server at the address `server` describes by the JSON object `view`."""
        numbers = view["hidden"] or view["public"] or {}
        return cls(
            **{name: view[name] for name in ("id", "state", "owner", "method", "kind", "visibility", "warnings")},
            benchmark=view["benchmark"]["name"],
            version=view["benchmark"]["version"],
            url=server + view["links"]["page"],
            part="public" if view["kind"] == "practice" else "ranking",
            lds=numbers.get("lds"),
            std_error=numbers.get("std_error"),
            confidence_interval=tuple(numbers["ci"]) if numbers else None,
            rank=tuple(numbers["rank"]) if numbers.get("rank") else None,
            details=view,
        )

    def __repr__(self) -> str:
        result = "" if self.lds is None else f", {self.part} LDS={self._interval}"
        notes = "".join(f", {code}" for code in self.warnings)
        return f"Submission({self.id}, method={self.method!r}, {self.kind}, {self.state}{result}{notes})"

    def _repr_html_(self) -> str:
        """Return a table for a notebook, with the text of each warning."""
        rows = [
            ("benchmark", f"{self.benchmark} version {self.version}"),
            ("method", f"{self.method} by {self.owner}"),
            ("state", f"{self.kind}, {self.visibility}, {self.state}"),
        ]
        if self.lds is not None:
            rows.append((f"LDS on the {self.part} subsets", self._interval))
        if self.rank is not None:
            low, high = self.rank
            rank = str(low) if low == high else f"{low} to {high}"
            counted = self.details["hidden"].get("in_family") is not False  # absent in the responses of older servers
            rows.append(("rank", rank if counted else f"({rank})"))
        if self.details.get("uses_subsets"):
            rows.append(("declared", "fitted to these subsets"))
        rows += [("warning", WARNINGS.get(code, code)) for code in self.warnings]
        return notebook_table(f"Submission {self.id}", [*rows, ("page", self.url)])

    @property
    def _interval(self) -> str:
        low, high = self.confidence_interval or (float("nan"), float("nan"))
        return f"{self.lds:.4f} [{low:.4f}, {high:.4f}]"


def submit(
    scores: Any,
    *,
    benchmark: str,
    method: str,
    server: str | None = None,
    token: str | None = None,
    wait: bool = True,
    timeout: float = 600,
    **fields: Any,
) -> Submission:
    """Submit scores to a benchmark, and return the result.

    Parameters
    ----------
    scores : array_like or path, shape (n, N)
        As in `ldsboard.lds`: an array, a tensor on the CPU, or the path of a file or folder in which an attribution library saved
        scores. If only the transpose of a file fits, the server transposes the file.
    benchmark : str
        Name of the benchmark.
    method : str
        Name of the method: a-z, 0-9, '.', '_' and '-' are allowed.
    server : str, optional
        Address of the server; by default ``LDSBOARD_SERVER``, or ``http://localhost:8000``.
    token : str, optional
        Token of your account; by default ``LDSBOARD_TOKEN``, or in a CI the identity of the run, or the token that ``ldsboard
        login`` stored.
    wait : bool, default True
        Whether to wait for the result. Otherwise `submission` returns the result later.
    timeout : float, default 600
        Largest number of seconds to wait for the result.
    **fields
        Other fields of ``POST /api/v1/submissions``, which the server checks, and which change nothing if the server already has
        the file: ``kind`` (``"ranked"`` or ``"practice"``; by default ``"practice"`` in a CI, and otherwise ``"ranked"``),
        ``visibility`` (``"public"``, ``"anonymous"`` or ``"private"``), ``title``, ``description``, ``tags``, ``paper``,
        ``code``, ``replicate_of`` (the id of your submission of the same method from another seed), ``uses_subsets`` (True if the
        method was fitted to the ranking subsets of a practice board or to their margins), ``cost``, and ``provenance`` (by
        default the values that the variables of a CI state).

    Returns
    -------
    Submission
        The scored submission; with ``wait=False`` the submission in its present state.

    Raises
    ------
    ProblemError
        A ValueError: the scores cannot be used. The library finds most problems before anything is sent, and the server finds
        the others, such as a shape that does not fit the benchmark.
    ldsboard.client.RefusedError
        The server refused the submission, for instance because the token is not valid or a quota is used up. The code of its
        `problem` is ``request.conflict`` if the server already has the file as a submission that shows more than `visibility`
        allows, or that lacks the stated `uses_subsets` or `replicate_of`.
    ldsboard.client.UnreachableError
        The server gave no answer. A new call with the same arguments continues the upload.
    SubmissionError
        With ``wait=True``: the submission has failed, expired or been withdrawn.
    TimeoutError
        With ``wait=True``: the submission was not scored within `timeout` seconds.
    ConfigError
        The configuration file with the stored tokens is damaged.
    OSError
        The file cannot be read.

    See Also
    --------
    lds : Compute the LDS of scores on your own ground truth, without a server.
    leaderboard : Show the entries of a benchmark.
    """
    # The HTTP client is slow to import, and most users only score.
    from ldsboard import sending  # noqa: PLC0415
    from ldsboard.client import RefusedError  # noqa: PLC0415
    from ldsboard.identity import check_token  # noqa: PLC0415

    fields.setdefault("kind", "practice" if environment.in_ci() else "ranked")
    fields.setdefault("provenance", environment.find_origin().provenance() or None)
    with _client(server, token, method) as client:
        check_token(client)
        if not isinstance(scores, str | os.PathLike):
            scores = read_scores(scores)
            check_finite(scores)
            known = client.benchmark(benchmark)
            if is_turned(scores.shape, known["n_train"], known["n_targets"]):  # the server would transpose the file
                check_shape(scores.shape, known["n_train"], known["n_targets"])
        with score_file(scores) as (path, source):
            try:
                view = sending.submit(client, benchmark, path, method=method, source=source, **fields)
            except RefusedError as error:
                if error.problem.code.startswith("scores."):
                    raise ProblemError.of(error.problem) from error
                raise
            return _scored(client, view, timeout) if wait else Submission.of(view, client.server)


def submission(
    submission_id: str,
    *,
    server: str | None = None,
    token: str | None = None,
    wait: bool = False,
    timeout: float = 600,
) -> Submission:
    """Return a submission; a private submission needs the token of its owner.

    Parameters
    ----------
    submission_id : str
        Id of the submission.
    server, token : str, optional
        Address of the server, and token of your account; the defaults are those of `submit`.
    wait : bool, default False
        Whether to wait until the submission is scored.
    timeout : float, default 600
        Largest number of seconds to wait.

    Returns
    -------
    Submission
        The submission in its present state, or with ``wait=True`` the scored submission.

    Raises
    ------
    ProblemError
        With ``wait=True``: the server rejected the scores.
    ldsboard.client.RefusedError
        The server refused the call, for instance because it has no such submission.
    ldsboard.client.UnreachableError
        The server gave no answer.
    SubmissionError
        With ``wait=True``: the submission has failed, expired or been withdrawn.
    TimeoutError
        With ``wait=True``: the submission was not scored within `timeout` seconds.
    ConfigError
        The configuration file with the stored tokens is damaged.
    """
    with _client(server, token) as client:
        view = client.submission(submission_id)
        return _scored(client, view, timeout) if wait else Submission.of(view, client.server)


class SubmissionError(Exception):
    """The error for a submission that has failed, expired or been withdrawn."""


def _client(server: str | None, token: str | None, method: str | None = None) -> Client:
    """Return the client that `ldsboard.identity.open_client` returns for these parameters."""
    from ldsboard.identity import open_client  # noqa: PLC0415 -- as in submit

    return open_client(server, token, method=method)


def _scored(client: Client, view: dict[str, Any], timeout: float) -> Submission:
    """Wait until a submission is scored, and return it; raise an error for any other final state, and after the timeout."""
    view = client.wait(view["id"], timeout)
    state, name = view["state"], f"submission {view['id']}"
    if state == "scored":
        return Submission.of(view, client.server)
    if state == "rejected":
        raise ProblemError.of(Problem.from_dict(view["error"]))
    if state == "failed":
        raise SubmissionError(f"The {name} has failed. {Problem.from_dict(view['error'])}")
    if state in ("expired", "withdrawn"):
        raise SubmissionError(f"The {name} is {state}. Submit the scores again.")
    raise TimeoutError(
        f"The {name} is still {state} after {timeout:g} s. Continue waiting: ldsboard.submission({view['id']!r}, wait=True)"
    )
