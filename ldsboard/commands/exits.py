"""Exit with the exit codes of the command line.

0 success; 1 unexpected error; 2 usage error; 3 file rejected; 4 not allowed; 5 quota exceeded; 6 evaluation failed; 7 timed out
while waiting; 8 server unreachable; 9 the LDS is lower than ``--min-lds`` or ``--no-regress-from`` requires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from ldsboard.problems import Problem

if TYPE_CHECKING:
    from ldsboard.client import Client

UNEXPECTED, USAGE, REJECTED, NOT_ALLOWED, QUOTA, FAILED, TIMED_OUT, UNREACHABLE, GATE = range(1, 10)

errors = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(code: int, message: str) -> NoReturn:
    """Print an error message on standard error, and exit with `code`."""
    errors.print(f"Error: {message}", markup=False)
    raise SystemExit(code)


def exit_code(problem: Problem) -> int:
    """Return the exit code for a problem that the library or the server found."""
    code = problem.code
    if code.startswith("quota."):
        return QUOTA
    if code.startswith("auth."):
        return NOT_ALLOWED
    if code == "upload.expired":
        return FAILED
    if code.startswith(("scores.", "upload.", "masks.", "margins.")):
        return REJECTED
    if code.startswith("internal."):
        return UNEXPECTED
    return USAGE


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
        f"Timed out: the submission is still {state}. Continue waiting with: ldsboard status --wait {submission['id']}",
    )


def check_gates(client: Client, submission: dict[str, Any], min_lds: float | None, no_regress_from: str | None) -> None:
    """Exit with `GATE` if the LDS is below `min_lds`, or significantly below that of the submission `no_regress_from`."""
    ranking_lds = (submission["hidden"] or submission["public"])["lds"]
    if min_lds is not None and ranking_lds < min_lds:
        fail(GATE, f"Expected an LDS of at least {min_lds}, got {ranking_lds:.4f}.")
    if no_regress_from is not None:
        difference = client.compare(submission["id"], no_regress_from)
        if difference["difference"] < 0 and difference["p_value"] < 0.05:  # noqa: PLR2004
            fail(
                GATE,
                f"The LDS is significantly worse than that of {no_regress_from}, by {-difference['difference']:.4f} "
                f"(p-value {difference['p_value']:.2g}).",
            )
