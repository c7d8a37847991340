"""What ``ldsboard submit`` does after its options are read: send the file, wait for the result, and look at the gates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ldsboard import sending
from ldsboard.arrays.scores import check_finite
from ldsboard.commands import exits, gates, progress, queries
from ldsboard.commands.conversion import TRAIN_TARGET, score_file
from ldsboard.commands.exits import GATE, USAGE, errors, fail
from ldsboard.commands.interruption import ways_on, ways_on_waiting
from ldsboard.commands.printing import output, print_json, print_warnings, show
from ldsboard.formats.score_files import open_scores
from ldsboard.pending import PendingUpload, pending_uploads

if TYPE_CHECKING:
    from ldsboard.client import Client
    from ldsboard.commands.gates import Baseline, Gates, Outcome
    from ldsboard.environment import Origin


class SubmissionRun:
    """One run of ``ldsboard submit``.

    Parameters
    ----------
    client
        Client with the token of the submitter.
    wanted
        The gates that the user asks for.
    origin
        Where the command runs.
    timeout
        Largest number of seconds to wait for a result.
    wait
        Whether to wait for the result.
    quiet
        Whether to print errors, warnings and JSON only.
    as_json
        Whether to print the submission as JSON.
    """

    def __init__(
        self, client: Client, wanted: Gates, origin: Origin, timeout: float, *, wait: bool, quiet: bool, as_json: bool
    ) -> None:
        self.client, self.gates, self.origin, self.timeout = client, wanted, origin, timeout
        self.wait, self.quiet, self.as_json = wait, quiet, as_json
        self._notes = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, quiet=quiet)

    def submit(self, scores: Path, conversion: dict[str, Any], benchmark: str, fields: dict[str, Any]) -> None:
        """Send a file to a benchmark, and print the submission.

        With `wait`, exit with an error code unless the submission is scored and meets the gates.

        Parameters
        ----------
        scores
            The file that the user names.
        conversion
            The arguments ``axes`` and ``key`` for `score_file`, which makes the file to send from `scores`.
        benchmark
            Name of the benchmark.
        fields
            The fields of ``POST /api/v1/submissions``.
        """
        self._warn_without_commit()
        method = fields["method"]
        baseline = gates.find_baseline(self.client, self.gates, benchmark, method, self.origin, self.timeout)
        with score_file(scores, **conversion) as path, ways_on(self.client) as started:
            made: dict[str, Any] = {}
            if path != scores:
                made = {"source": scores, "conversion": _stated(conversion)}
            with progress.upload_bar(self._notes, scores.name, path.stat().st_size) as advance:
                view = sending.submit(
                    self.client, benchmark, path, advance=advance, opened=started.opened, **made, **fields
                )
        self._finish(view, baseline)

    def resume(self, scores: Path | None) -> None:
        """Continue an interrupted upload, and print the submission.

        With `wait`, exit with an error code unless the submission is scored and meets the gates. Also exit if not exactly one
        interrupted upload is found.

        Parameters
        ----------
        scores
            The file that the user named when the upload began; with None, the upload may be of any file.
        """
        server = self.client.server
        found = pending_uploads(server, scores)
        if len(found) != 1:
            got = ", ".join(upload.named for upload in found) or "none"
            fail(
                USAGE,
                f"Expected one interrupted upload to {server}, got {got}. Name the file: ldsboard submit --resume SCORES",
            )
        (pending,) = found
        baseline = self._baseline_of(pending) if self.gates else None
        source = Path(pending.named)
        axes, key = pending.conversion.get("axes", TRAIN_TARGET), pending.conversion.get("key")
        with (
            score_file(source, axes, key) as path,
            ways_on(self.client) as started,
            progress.upload_bar(self._notes, source.name, pending.size) as advance,
        ):
            view = sending.resume(self.client, pending, advance, opened=started.opened, path=path)
        self._finish(view, baseline)

    def _baseline_of(self, pending: PendingUpload) -> Baseline | None:
        """Return the baseline for an interrupted upload; exit if a gate cannot be checked for this upload."""
        announced = pending.announced
        if not announced:  # a record of an older version
            view = self.client.submission(pending.id)
            announced = view | {"benchmark": view["benchmark"]["name"]}
        gates.check_usage(self.gates, announced.get("visibility", "public"), waits=self.wait)
        names = announced["benchmark"], announced["method"]
        return gates.find_baseline(self.client, self.gates, *names, self.origin, self.timeout)

    def check(self, scores: Path, conversion: dict[str, Any], benchmark: str, fields: dict[str, Any]) -> None:
        """Let the server check a file without saving anything, and print the result; the parameters are those of `submit`."""
        with score_file(scores, **conversion) as path:
            check_finite(open_scores(path))
            with progress.upload_bar(self._notes, scores.name, path.stat().st_size) as advance:
                found = queries.dry_run(self.client, benchmark, path, fields, advance)
        if self.as_json:
            print_json(found)
        elif not self.quiet:
            version = found["benchmark"]["version"]
            output.print(
                f"{scores} would be accepted by {benchmark} version {version}, as a {found['kind']} submission of "
                f"{found['method']}. Nothing was saved.",
                markup=False,
            )

    def _warn_without_commit(self) -> None:
        if self.origin.problem and self.origin.commit is None:
            errors.print(
                f"Warning: the commit of this pull request is unknown, because {self.origin.problem}. "
                "State it with --commit and --repository.",
                markup=False,
            )

    def _finish(self, submission: dict[str, Any], baseline: Baseline | None) -> None:
        """Print the id and the page of a submission, then the submission itself.

        With `wait`, first wait for the result. Afterwards exit with an error code unless the submission is scored and meets the
        gates.
        """
        self._notes.print(f"Submitted as {submission['id']}: {self.client.server}{submission['links']['page']}")
        if not self.wait:
            self._show(submission, [])
            return
        with ways_on_waiting(self.client, submission["id"]), self._notes.status("Waiting for the result"):
            submission = self.client.wait(submission["id"], self.timeout)
        outcomes: list[Outcome] = []
        try:
            if submission["state"] == "scored":
                outcomes = gates.judge(self.client, submission, self.gates, baseline)
        finally:
            self._show(submission, outcomes)
        exits.exit_unless_scored(submission)
        self._exit_unless_met(outcomes)

    def _show(self, submission: dict[str, Any], outcomes: list[Outcome]) -> None:
        if self.as_json:
            print_json(submission | ({"gates": [outcome.numbers for outcome in outcomes]} if outcomes else {}))
        elif self.quiet:
            print_warnings(submission["warnings"])
        else:
            show(submission, as_json=False)

    def _exit_unless_met(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            if not outcome.met:
                errors.print(f"Error: {outcome.line}", markup=False)
            elif outcome.numbers.get("baseline", "") is None:  # also with --quiet: nothing was compared
                errors.print(f"Warning: {outcome.line}", markup=False)
            else:
                self._notes.print(outcome.line)
        if not all(outcome.met for outcome in outcomes):
            raise SystemExit(GATE)


def _stated(conversion: dict[str, Any]) -> dict[str, str]:
    """Return the arguments of `score_file` that differ from their defaults, for the record of the upload."""
    return {name: value for name, value in conversion.items() if value not in (None, TRAIN_TARGET)}
