"""The inputs of a CI job, which are environment variables, and the commands of ``ldsboard`` that follow from the inputs.

Inputs are variables and never parts of a shell script, so that no value of an input can run a command.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ldsboard.commands.gates import ANY_DIFFERENCE, LATEST
from ldsboard.environment import on_gitlab
from ldsboard.identity import has_identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ldsboard.environment import Origin

PREFIX = "LDSBOARD_"
"""Prefix of the variables: the input ``min-lds`` is the variable ``LDSBOARD_MIN_LDS``."""

NONE = "none"
"""Value of ``min-lds`` and ``no-regress-from`` that means: the job does not ask for this check. An empty value is an error.

In a workflow, an expression with a misspelt name gives an empty value. If an empty value meant "no check", the misspelt name
would switch the check off.
"""

DEPENDABOT = "dependabot[bot]"
"""Actor whose runs on GitHub get no secrets.

Source: https://docs.github.com/en/code-security/reference/supply-chain-security/dependabot-on-actions
"""


FORK_NOTE = (
    "This pull request has neither a secret nor an identity, because it comes from a fork or from Dependabot. Nothing was "
    "submitted: this is the LDS on the public subsets, computed in this job."
)
GITLAB_FORK_NOTE = (
    "This merge request comes from a fork, and its jobs have the identity of the fork. Nothing was submitted: this is the LDS on "
    "the public subsets, computed in this job."
)


class InputError(ValueError):
    """The error for an input, or for a file or folder of the job, that cannot be used; the message says which."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of a job, by the names of ``action.yml``.

    `min_lds` and `no_regress_from` are None if the job does not ask for this check. `token` is empty without a token.
    """

    file: str
    benchmark: str
    method: str
    server: str
    token: str = field(repr=False)
    kind: str
    min_lds: float | None
    no_regress_from: str | None
    visibility: str
    uses_subsets: bool
    description: str
    replicate_of: str = ""

    def submit(self, origin: Origin) -> list[str]:
        """Return the arguments of ``ldsboard`` that submit the file.

        Without ``no-regress-from``, the arguments still ask for a comparison with the newest submission of the default branch, so
        that the report can show the difference. The tolerance `ANY_DIFFERENCE` keeps this comparison from failing the job. The
        comparison is left out for an anonymous submission, and if the default branch is unknown.
        """
        options = {
            "method": self.method,
            "kind": self.kind,
            "visibility": self.visibility,
            "description": self.description,
            "replicate-of": self.replicate_of,
        }
        if self.min_lds is not None:
            options["min-lds"] = repr(self.min_lds)
        if self.no_regress_from is not None:
            options["no-regress-from"] = self.no_regress_from
        elif origin.default_branch and self.visibility != "anonymous":
            options |= {"no-regress-from": LATEST, "tolerance": f"{ANY_DIFFERENCE:g}"}
        stated = [f"--{name}={value}" for name, value in options.items() if value]
        stated += ["--uses-subsets"] if self.uses_subsets else []
        return ["submit", *stated, "--json", "--", self.file, self.benchmark]

    def pull(self) -> list[str]:
        """Return the arguments of ``ldsboard`` that download the public part of the benchmark."""
        return ["pull", "--", self.benchmark]

    def score(self) -> list[str]:
        """Return the arguments of ``ldsboard`` that compute the public LDS in the job, after `pull`, without the server."""
        return ["score", "--json", "--", self.file, self.benchmark]

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for commands of ``ldsboard``: the job's variables, the server, the token, and plain output.

        The token is passed as a variable, because other users of the machine can list the arguments of a command.
        """
        plain = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200", "TYPER_USE_RICH": "0"}
        kept = {name: value for name, value in environ.items() if name not in ("FORCE_COLOR", "TTY_COMPATIBLE")}
        return kept | plain | {"LDSBOARD_SERVER": self.server, "LDSBOARD_TOKEN": self.token}


def fails_on_error(environ: Mapping[str, str]) -> bool:
    """Return whether an error fails the job: False only if the input ``fail-on-error`` is ``false``."""
    return _value(environ, "fail-on-error") != "false"


def read_inputs(environ: Mapping[str, str]) -> Inputs:
    """Return the inputs that the environment states.

    Raises
    ------
    InputError
        An input is missing, or has a value that is not allowed.
    """
    _choice(environ, "fail-on-error", ("true", "false"))
    return Inputs(
        file=_required(environ, "file", "the path of the score file"),
        benchmark=_required(environ, "benchmark", "the name of a benchmark"),
        method=_required(environ, "method", "the name of the method"),
        server=_required(environ, "server", "the address of the LDSBoard server, such as https://ldsboard.example"),
        token=_value(environ, "token"),
        kind=_choice(environ, "kind", ("practice", "ranked")),
        min_lds=_number(_gate(environ, "min-lds", "a number")),
        no_regress_from=_gate(environ, "no-regress-from", "the id of a submission, or latest"),
        visibility=_choice(environ, "visibility", ("public", "anonymous", "private")),
        uses_subsets=_choice(environ, "uses-subsets", ("false", "true")) == "true",
        description=_value(environ, "description"),
        replicate_of=_value(environ, "replicate-of"),
    )


def is_unprivileged(origin: Origin, environ: Mapping[str, str], token: str) -> bool:
    """Return whether the run cannot submit because it is for a pull request from a fork or from Dependabot.

    The result is False if the run has a token, or is not for a pull request. Otherwise the provider decides:

    - GitHub and Forgejo: True if the pull request comes from a fork or from Dependabot, and the run has no identity.
    - GitLab: True if the merge request comes from a fork and the run belongs to the fork. The run then has an identity, but the
      identity is that of the fork, which no user is expected to trust.
    - Any other CI: False.
    """
    if token or origin.number is None:
        return False
    if on_gitlab(environ):
        target = environ.get("CI_MERGE_REQUEST_PROJECT_PATH")
        return bool(target) and target not in (origin.repository, environ.get("CI_PROJECT_PATH"))
    base = environ.get("FORGEJO_REPOSITORY") or environ.get("GITHUB_REPOSITORY")
    unknown = origin.repository is None and origin.problem is not None  # an event that cannot be read names no fork
    foreign = (origin.repository != base and not unknown) or environ.get("GITHUB_ACTOR") == DEPENDABOT
    return base is not None and foreign and not has_identity(environ)


def fork_note(environ: Mapping[str, str]) -> str:
    """Return the text that tells the user why a run submits nothing, if `is_unprivileged` is true for this run."""
    return GITLAB_FORK_NOTE if on_gitlab(environ) else FORK_NOTE


def check_file(path: str) -> None:
    """Check that the score file, or the folder of scores, exists, before anything is sent.

    Raises
    ------
    InputError
        There is no such file or folder; the message says where the file was looked for.
    """
    try:
        found = Path(path).exists()
    except OSError:  # for instance, the path is too long
        found = False
    if not found:
        raise InputError(
            f"The folder {Path.cwd()} has no score file {path[:200]!r}. Nothing was sent. Check the input file, and that an "
            "earlier step of this job writes the file; a file that another job writes must be an artifact of that job."
        )


def variable(name: str) -> str:
    """Return the name of the environment variable that holds an input."""
    return PREFIX + name.upper().replace("-", "_")


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(variable(name), "").strip()


def _required(environ: Mapping[str, str], name: str, what: str) -> str:
    if not (value := _value(environ, name)):
        raise InputError(f"The input {name} is missing or empty; expected {what}.")
    return value


def _choice(environ: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """Return the value of an input that has few allowed values; the first of `allowed` if the input's variable is not set.

    A variable that is set but empty is an error. The CI passes an expression without a value as an empty variable. If such a
    variable meant the first value, a submission that should be private would be public.

    Raises
    ------
    InputError
        The variable is empty or has another value that is not allowed.
    """
    value = environ.get(variable(name), allowed[0]).strip()
    if value not in allowed:
        raise InputError(
            f"The input {name} must be {', '.join(allowed[:-1])} or {allowed[-1]}, but it is {value[:40]!r}."
        )
    return value


def _gate(environ: Mapping[str, str], name: str, what: str) -> str | None:
    value = environ.get(variable(name), NONE).strip()
    if not value:
        raise InputError(
            f"The input {name} is empty, so nothing would be checked; expected {what}, or {NONE} for no check."
        )
    return None if value == NONE else value


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"The input min-lds must be a finite number, or {NONE}, but it is {text[:40]!r}.")
    return value
