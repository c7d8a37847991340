"""Exit with the exit codes of the command line.

0 success; 1 unexpected error; 2 usage error; 3 file rejected; 4 not allowed, by the server or by a proxy before the server;
5 quota exceeded; 6 evaluation failed; 7 timed out while waiting, or too many requests; 8 server unreachable, or something else
answered in its place; 9 the LDS is lower than ``--min-lds`` or ``--no-regress-from`` requires; 130 interrupted by Ctrl-C;
143 an upload, or the wait for its result, was ended by SIGTERM.
"""

from __future__ import annotations

from typing import Any, NoReturn

from rich.console import Console

from ldsboard.invocation import program
from ldsboard.problems import Problem

UNEXPECTED, USAGE, REJECTED, NOT_ALLOWED, QUOTA, FAILED, TIMED_OUT, UNREACHABLE, GATE = range(1, 10)
INTERRUPTED, TERMINATED = 130, 143

EXIT_CODES = {
    "quota": QUOTA,
    "auth": NOT_ALLOWED,
    "oidc": NOT_ALLOWED,
    "scores": REJECTED,
    "upload": REJECTED,
    "upload.expired": FAILED,
    "masks": REJECTED,
    "margins": REJECTED,
    "proxy.refused": NOT_ALLOWED,
    "proxy.busy": TIMED_OUT,
    "rate": TIMED_OUT,
    "internal": UNEXPECTED,
}
"""The exit code of a problem by its code, or by the part of its code before the dot; all other problems are usage errors."""

errors = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(code: int, message: str) -> NoReturn:
    """Print an error message on standard error, and exit with `code`."""
    errors.print(f"Error: {message}", markup=False)
    raise SystemExit(code)


def exit_code(problem: Problem) -> int:
    """Return the exit code for a problem that the library or the server found."""
    return EXIT_CODES.get(problem.code) or EXIT_CODES.get(problem.code.partition(".")[0], USAGE)


def exit_unless_scored(submission: dict[str, Any]) -> None:
    """Exit with the exit code for the state of a submission, unless the submission is scored."""
    state, error = submission["state"], submission["error"]
    if state == "scored":
        return
    if state in ("rejected", "failed"):
        fail(REJECTED if state == "rejected" else FAILED, f"{Problem.from_dict(error)} [{error['code']}]")
    if state in ("expired", "withdrawn"):
        fail(FAILED, f"The submission is {state}. Submit the file again.")
    fail(
        TIMED_OUT,
        f"Timed out: the submission is still {state}. Continue waiting with: "
        f"{program('ldsboard')} status --wait {submission['id']}",
    )
