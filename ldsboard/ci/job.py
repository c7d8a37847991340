"""Submit the score file that the environment names, and report the result to the CI that runs this program.

The exit code is that of ``ldsboard submit``, or 0 if the input ``fail-on-error`` is ``false``.
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
from ldsboard.ci.inputs import InputError, Inputs, fails_on_error, is_unprivileged, read_inputs, variable
from ldsboard.ci.outcome import Outcome
from ldsboard.ci.process import run_command
from ldsboard.ci.summary import annotation, summary
from ldsboard.environment import find_origin

if TYPE_CHECKING:
    from collections.abc import Mapping

ACTIONS = ("GITHUB_ACTIONS", "FORGEJO_ACTIONS", "GITEA_ACTIONS")
"""Variables by which the runners of GitHub Actions, Forgejo and Gitea are known."""

OUTPUT, SUMMARY = "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"
"""Variables with the paths of the files for the outputs and for the summary."""


def main(environ: Mapping[str, str] = os.environ, cancellation: Cancellation | None = None) -> int:
    """Submit the file and report the result; return the exit code.

    Parameters
    ----------
    environ
        The environment variables of the job.
    cancellation
        The handler of the signals that cancel the job; None if no signal does.
    """
    on_actions = any(environ.get(name) for name in ACTIONS)
    token = environ.get(variable("token"), "").strip()
    if on_actions and token:
        say(actions.mask(token))
    folder = None
    try:
        folder = _open_files(environ)
        inputs = read_inputs(environ)
    except InputError as error:
        outcome = Outcome.of_input(str(error))
    else:
        with actions.commands_stopped(say) if on_actions else nullcontext():
            outcome = evaluate(inputs, environ, cancellation or Cancellation())
    if folder is not None:
        _write_files(outcome, environ, folder)
    found = annotation(outcome, environ.get(variable("file"), "").strip(), fails=fails_on_error(environ))
    say(actions.annotate(found) if on_actions else "\n".join(filter(None, [found.title, found.message])))
    return outcome.code if fails_on_error(environ) else 0


def evaluate(inputs: Inputs, environ: Mapping[str, str], cancellation: Cancellation) -> Outcome:
    """Submit the file, or compute the LDS on the public part if the run cannot submit; return the outcome."""
    origin = find_origin(environ)
    variables = inputs.variables(environ)
    if not is_unprivileged(origin, environ, inputs.token):
        done = run_command(inputs.submit(origin), variables, say, cancellation)
        return Outcome.of_submission(done, environ, inputs.token)
    pulled = run_command(inputs.pull(), variables, say, cancellation)
    if pulled.code:
        return Outcome.of_failure(pulled)
    return Outcome.of_public_part(run_command(inputs.score(), variables, say, cancellation), inputs)


def say(line: str) -> None:
    """Print a line and flush the standard output."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _write_files(outcome: Outcome, environ: Mapping[str, str], folder: Path) -> None:
    server, method, benchmark = (environ.get(variable(name), "").strip() for name in ("server", "method", "benchmark"))
    document = folder / "submission.json"
    if outcome.document:
        document.write_text(outcome.document, encoding="utf-8")
    outputs = outcome.outputs(server, str(document) if outcome.document else "")
    report = summary(outcome, method=method, benchmark=benchmark, server=server)
    if path := environ.get(OUTPUT):
        actions.write_outputs(path, outputs)
    if path := environ.get(SUMMARY):
        actions.write_summary(path, report)
    if environ.get("GITLAB_CI"):
        gitlab.write_reports(folder, outcome, outputs, method=method, benchmark=benchmark)


def _open_files(environ: Mapping[str, str]) -> Path:
    """Check that the outputs and the summary can be written, and return the folder for the other files of the report.

    The folder is created here: on GitLab `gitlab.FOLDER`, otherwise a new folder.

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
    if environ.get("GITLAB_CI"):
        folder = Path(gitlab.FOLDER)
        folder.mkdir(exist_ok=True)
        return folder
    return Path(mkdtemp(prefix="ldsboard-", dir=environ.get("RUNNER_TEMP") or None))
