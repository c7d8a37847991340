"""What ``ldsboard submit`` does after its options are read: send the file, wait for the result, and check the gates."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from ldsboard import sending
from ldsboard.arrays.scores import check_finite
from ldsboard.commands import exits, gates, progress, queries
from ldsboard.commands.conversion import TRAIN_TARGET, score_file
from ldsboard.commands.exits import GATE, UNEXPECTED, USAGE, errors, fail
from ldsboard.commands.interruption import ways_on, ways_on_waiting
from ldsboard.commands.printing import output, print_json, print_warnings, show
from ldsboard.formats.score_files import open_scores
from ldsboard.identity import check_token
from ldsboard.invocation import program
from ldsboard.pending import PendingUpload, pending_uploads

if TYPE_CHECKING:
    from ldsboard.client import Client
    from ldsboard.commands.gates import Baseline, Gates, Outcome
    from ldsboard.environment import Origin


EDITABLE = ("visibility", "title", "description", "tags", "paper", "code")
"""Fields that a command can state. If the server already has the file, the earlier submission keeps its own values of these."""


class SubmissionRun:
    """One run of ``ldsboard submit``.

    Parameters
    ----------
    client
        Client with the token of the submitter.
    wanted
        The gates that the user asks for: ``--min-lds`` and ``--no-regress-from``.
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

        With `wait`, wait for the result, and exit with an error code unless the submission is scored and meets the gates.

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
        announced = fields | {"benchmark": benchmark}
        baseline = gates.find_baseline(self.client, self.gates, announced, self.origin, self.timeout)
        check_token(self.client)
        with ways_on(self.client) as started, score_file(scores, **conversion, note=self._note) as path:
            made: dict[str, Any] = {}
            if path != scores:
                made = {"source": scores, "conversion": _stated(conversion)}
            with progress.upload_bar(self._notes, scores.name, path.stat().st_size) as advance:
                view = sending.submit(
                    self.client, benchmark, path, advance=advance, opened=started.opened, **made, **fields
                )
        self._finish(view, baseline, started.upload)

    def resume(self, scores: Path | None, stated: dict[str, Any]) -> None:
        """Continue an interrupted upload, and print the submission.

        With `wait`, wait for the result, and exit with an error code unless the submission is scored and meets the gates. Also
        exit if not exactly one interrupted upload is found.

        Parameters
        ----------
        scores
            The file that the user named when the upload began; with None, the upload can be of any file.
        stated
            The fields of the announcement that the user states again; the upload must have been announced with these values.
        """
        pending = _find_upload(self.client.server, scores, stated)
        baseline = self._baseline_of(pending) if self.gates else None
        source = Path(pending.named)
        axes, key = pending.conversion.get("axes", TRAIN_TARGET), pending.conversion.get("key")
        with (
            score_file(source, axes, key, self._note) as path,
            ways_on(self.client) as started,
            progress.upload_bar(self._notes, source.name, pending.size) as advance,
        ):
            view = sending.resume(self.client, pending, advance, opened=started.opened, path=path)
        self._finish(view, baseline, started.upload)

    def _baseline_of(self, pending: PendingUpload) -> Baseline | None:
        """Return the submission with which ``--no-regress-from`` compares an interrupted upload; None if there is none.

        Exit if ``--min-lds`` or ``--no-regress-from`` cannot be checked for this upload.
        """
        announced = pending.announced
        if not announced:  # a record of an older version
            view = self.client.submission(pending.id)
            announced = view | {"benchmark": view["benchmark"]["name"]}
        gates.check_usage(self.gates, announced.get("visibility", "public"), waits=self.wait)
        return gates.find_baseline(self.client, self.gates, announced, self.origin, self.timeout)

    def check(self, scores: Path, conversion: dict[str, Any], benchmark: str, fields: dict[str, Any]) -> None:
        """Let the server check a file without saving anything, and print the result; the parameters are those of `submit`."""
        check_token(self.client)
        with score_file(scores, **conversion, note=self._note) as path:
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

    def _note(self, note: str) -> None:
        self._notes.print(f"Note: {note}")

    def _warn_without_commit(self) -> None:
        if self.origin.problem and self.origin.commit is None:
            errors.print(
                f"Warning: the commit of this pull request is unknown, because {self.origin.problem}. "
                "State it with --commit and --repository.",
                markup=False,
            )

    def _finish(self, submission: dict[str, Any], baseline: Baseline | None, upload: PendingUpload | None) -> None:
        """Print the id and the page of a submission, wait for the result if `wait` is True, and print the submission.

        If the submission is an earlier one with the same file, also print which announced fields of `upload` this submission
        lacks. At the end, exit with an error code if `wait` is True and the submission is not scored or does not meet the gates,
        or if standard output cannot be written.
        """
        repeated = upload is not None and submission["id"] != upload.id
        what = "The server already has this file, as" if repeated else "Submitted as"
        self._notes.print(f"{what} {submission['id']}: {self.client.server}{submission['links']['page']}")
        if self.wait:
            with ways_on_waiting(self.client, submission["id"]), self._notes.status("Waiting for the result"):
                submission = self.client.wait(submission["id"], self.timeout)
        elif repeated:  # the answer to the upload leaves out most fields of the earlier submission
            submission = self.client.submission(submission["id"])
        if upload is not None and repeated:
            _warn_of_ignored(upload.announced, submission)
        outcomes: list[Outcome] = []
        try:
            if self.wait and submission["state"] == "scored":
                outcomes = gates.judge(self.client, submission, self.gates, baseline)
        finally:
            shown = self._show(submission, outcomes)
        if self.wait:
            exits.exit_unless_scored(submission)
            self._exit_unless_met(outcomes)
        if not shown:
            raise SystemExit(UNEXPECTED)

    def _show(self, submission: dict[str, Any], outcomes: list[Outcome]) -> bool:
        """Print a submission; if standard output cannot be written, print an error and return False."""
        try:
            if self.as_json:
                print_json(submission | ({"gates": [outcome.numbers for outcome in outcomes]} if outcomes else {}))
            elif self.quiet:
                print_warnings(submission["warnings"])
            else:
                show(submission, as_json=False)
            output.file.flush()
        except OSError as error:
            errors.print(f"Error: The result could not be written: {error}", markup=False)
            # At its end, Python writes the rest of the output: anywhere else than to the same device.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return False
        return True

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


def _warn_of_ignored(announced: dict[str, Any], submission: dict[str, Any]) -> None:
    """Print which announced fields an earlier submission with the same file does not have."""
    known = submission | submission["urls"]
    ignored = [name for name in EDITABLE if announced.get(name) and announced[name] != known.get(name)]
    if ignored:
        errors.print(
            f"Warning: {submission['id']} keeps its {', '.join(ignored)}, and nothing was changed. Change these fields with: "
            f"PATCH /api/v1/submissions/{submission['id']}",
            markup=False,
        )


def _stated(conversion: dict[str, Any]) -> dict[str, str]:
    """Return the arguments of `score_file` that differ from their defaults, for the record of the upload."""
    return {name: value for name, value in conversion.items() if value not in (None, TRAIN_TARGET)}


def _find_upload(server: str, scores: Path | None, stated: dict[str, Any]) -> PendingUpload:
    """Return the record of the interrupted upload to `server` whose announcement has the fields in `stated`.

    Records of files that do not exist are left out. Exit unless exactly one upload is found. Several records with the same file
    and equal announcements count as one upload: the first record with an id is returned, or the first record if none has an id.
    """
    found = pending_uploads(server, scores)
    left = [upload for upload in found if Path(upload.named).exists()]
    fitting = [upload for upload in left if stated.items() <= upload.announced.items()]
    if not fitting or any(
        (upload.announced, upload.sha256) != (fitting[0].announced, fitting[0].sha256) for upload in fitting
    ):
        _exit_without_upload(server, found, left, stated)
    return min(fitting, key=lambda upload: not upload.id)


def _exit_without_upload(
    server: str, found: list[PendingUpload], left: list[PendingUpload], stated: dict[str, Any]
) -> NoReturn:
    """Print why `_find_upload` did not find exactly one upload, and exit with a usage error.

    `left` holds the records in `found` whose file exists.
    """
    got = ", ".join(upload.named for upload in left) or "none"
    message = f"Expected one interrupted upload to {server}, got {got}."
    if len(left) == 1:
        announced = left[0].announced
        other = next(name for name, value in stated.items() if announced.get(name) != value)
        message = (
            f"The interrupted upload of {got} has the {other} {announced.get(other)!r}, and cannot go on with {stated[other]!r}. "
            "Leave the option out, or submit the file without --resume."
        )
    elif left:
        message += (
            " Name the file, the benchmark and the method: "
            f"{program('ldsboard')} submit --resume SCORES BENCHMARK --method METHOD"
        )
    elif found:
        message += (
            f" The file {found[0].named} of another one does not exist. "
            "If it was made from an array in Python, call ldsboard.submit again with the same scores."
        )
    fail(USAGE, message)
