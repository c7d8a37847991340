"""Submit the score file that the environment names, and report the result to the CI that runs this program.

The exit code is one of those in `ldsboard.commands.exits`, or 0 if the input ``fail-on-error`` is ``false``.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from ldsboard.ci import actions, gitlab
from ldsboard.ci.cancellation import Cancellation
from ldsboard.ci.inputs import (
    InputError,
    Inputs,
    check_file,
    fails_on_error,
    fork_note,
    is_unprivileged,
    read_inputs,
    variable,
)
from ldsboard.ci.outcome import Outcome
from ldsboard.ci.process import run_command
from ldsboard.ci.summary import annotation, summary
from ldsboard.environment import find_origin, on_actions, on_gitlab

if TYPE_CHECKING:
    from collections.abc import Mapping

OUTPUT, SUMMARY = "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"
"""Variables with the paths of the files for the outputs and for the summary."""


def main(environ: Mapping[str, str] = os.environ, cancellation: Cancellation | None = None) -> int:
    """Submit the file, report the result in the files and the log of the CI, and return the exit code.

    Parameters
    ----------
    environ
        The environment variables of the job.
    cancellation
        The handler of the signals that cancel the job; None if no signal cancels the job.
    """
    has_commands = on_actions(environ)
    token = environ.get(variable("token"), "").strip()
    if has_commands and token:
        say(actions.mask(token))
    opened, folder = False, None
    try:
        _open_files(environ)
        opened = True
        folder = _create_folder(environ)
        inputs = read_inputs(environ)
        check_file(inputs.file)
    except InputError as error:
        outcome = Outcome.of_input(str(error))
    else:
        with actions.commands_stopped(say) if has_commands else nullcontext():
            outcome = evaluate(inputs, environ, cancellation or Cancellation())
    if opened:
        try:
            _write_files(outcome, environ, folder)
        except OSError as error:
            outcome = outcome.unwritten(error)
    found = annotation(outcome, environ.get(variable("file"), "").strip(), fails=fails_on_error(environ))
    say(actions.annotate(found) if has_commands else "\n".join(filter(None, [found.title, found.message])))
    return outcome.code if fails_on_error(environ) else 0


def evaluate(inputs: Inputs, environ: Mapping[str, str], cancellation: Cancellation) -> Outcome:
    """Submit the file and wait for its result, or compute the public LDS in the job; return the outcome.

    The job computes the public LDS if `is_unprivileged` is true. For this, the job downloads the public part of the benchmark.
    """
    origin = find_origin(environ)
    variables = inputs.variables(environ)
    if not is_unprivileged(origin, environ, inputs.token):
        done = run_command(inputs.submit(origin), variables, say, cancellation)
        return Outcome.of_submission(done, environ, inputs.token)
    pulled = run_command(inputs.pull(), variables, say, cancellation)
    if pulled.code:
        return Outcome.of_failure(pulled)
    done = run_command(inputs.score(), variables, say, cancellation)
    return Outcome.of_public_part(done, inputs, fork_note(environ))


def say(line: str) -> None:
    """Print a line and flush the standard output."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _write_files(outcome: Outcome, environ: Mapping[str, str], folder: Path | None) -> None:
    """Write the outputs and the summary of the job, and the other files of the report into `folder`.

    If `folder` is None, nothing was sent, and only the outputs and the summary are written.
    """
    server, method, benchmark = (environ.get(variable(name), "").strip() for name in ("server", "method", "benchmark"))
    document = ""
    if folder is not None and outcome.document:
        document = str(folder / "submission.json")
        Path(document).write_text(outcome.document, encoding="utf-8")
    outputs = outcome.outputs(server, document)
    report = summary(outcome, method=method, benchmark=benchmark, server=server)
    if path := environ.get(OUTPUT):
        actions.write_outputs(path, outputs)
    if (path := environ.get(SUMMARY)) and not actions.write_summary(path, report):
        say("The summary of this step is full, so it has no report of this submission: read the log and the outputs.")
    if folder is not None and on_gitlab(environ):
        gitlab.write_reports(folder, outcome, outputs, method=method, benchmark=benchmark)


def _open_files(environ: Mapping[str, str]) -> None:
    """Check that the outputs and the summary can be written.

    Raises
    ------
    InputError
        A file cannot be written; the message names the variable.
    """
    for name in (OUTPUT, SUMMARY):
        if path := environ.get(name):
            try:
                Path(path).open("a").close()
            except OSError as error:
                raise InputError(
                    f"{name} must be the path of a file that can be written: {error}. Nothing was sent."
                ) from error


def _create_folder(environ: Mapping[str, str]) -> Path:
    """Create and return the folder for the files of the report: `gitlab.FOLDER` on GitLab, otherwise a new folder.

    The outputs and the summary of the job are not in this folder.

    Raises
    ------
    InputError
        The folder cannot be created; the message says where.
    """
    try:
        if on_gitlab(environ):
            folder = Path(gitlab.FOLDER)
            folder.mkdir(exist_ok=True)
            return folder
        return Path(mkdtemp(prefix="ldsboard-", dir=environ.get("RUNNER_TEMP") or None))
    except OSError as error:
        where = f"{gitlab.FOLDER} in the folder of the job" if on_gitlab(environ) else "a new folder in RUNNER_TEMP"
        raise InputError(
            f"The folder for the report, {where}, cannot be created: {error}. Nothing was sent. Check that the place of the "
            "folder exists, can be written, and holds no file of that name."
        ) from error
