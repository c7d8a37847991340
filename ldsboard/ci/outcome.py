"""What came of a job: the status, the numbers, and a message if something is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from ldsboard.commands import exits
from ldsboard.identity import has_identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ldsboard.ci.inputs import Inputs
    from ldsboard.ci.process import Finished

SCORED, PUBLIC_ONLY, INTERRUPTED = "scored", "public-only", "interrupted"

STATUSES = {
    0: SCORED,
    exits.UNEXPECTED: "error",
    exits.USAGE: "usage-error",
    exits.REJECTED: "rejected",
    exits.NOT_ALLOWED: "not-allowed",
    exits.QUOTA: "quota",
    exits.FAILED: "failed",
    exits.TIMED_OUT: "timed-out",
    exits.UNREACHABLE: "unreachable",
    exits.GATE: "gate-not-met",
}
"""The output ``status`` for each exit code of ``ldsboard submit``; after SIGINT or SIGTERM, the status is `INTERRUPTED`."""

LONGEST_MESSAGE = 10_000
"""Largest number of characters of `Outcome.message`."""

NO_CREDENTIALS = (
    "The job has neither a token nor an identity. Give the job the permission 'id-token: write' and register its workflow on the "
    "page /account of the server, or pass the input token."
)


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes
    ----------
    code
        Exit code of the job, one of those in `ldsboard.commands.exits`. The input ``fail-on-error`` can turn this code into 0.
    status
        One of the values of `STATUSES`, `PUBLIC_ONLY` or `INTERRUPTED`.
    part
        Subsets on which the LDS was computed: ``ranking`` or ``public``; None without an LDS.
    numbers
        The numbers on these subsets, as the server or ``ldsboard score --json`` states them; empty without an LDS. Members are
        ``lds`` and ``ci`` and, on the ranking subsets, ``rank`` and ``of_ceiling``.
    submission
        The submission as the server shows it; None if there is none.
    gates
        What the checks ``min-lds`` and ``no-regress-from`` found, by name; a check that was not made is left out.
    message
        What is wrong, in the words of the command; empty if nothing is.
    document
        The JSON that the command printed; empty if it printed none.
    note
        Why nothing was submitted, if the LDS was computed in the job itself; otherwise empty.
    """

    code: int
    status: str
    part: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    submission: Mapping[str, Any] | None = None
    gates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    message: str = ""
    document: str = ""
    note: str = ""

    @classmethod
    def of_input(cls, message: str) -> Self:
        """Return the outcome of a job whose inputs cannot be used."""
        return cls(exits.USAGE, STATUSES[exits.USAGE], message=message)

    @classmethod
    def of_failure(cls, done: Finished) -> Self:
        """Return the outcome of a job that ended with a failed command, and without a submission."""
        return cls(done.code, _status(done.code), message=error_message(done.messages))

    @classmethod
    def of_submission(cls, done: Finished, environ: Mapping[str, str], token: str) -> Self:
        """Return the outcome of a job that ran ``ldsboard submit --json``.

        `environ` and `token` decide only whether the message says that the job has neither a token nor an identity.
        """
        submission = _parsed(done.out)
        message = "" if done.code == 0 else error_message(done.messages)
        if done.code == exits.NOT_ALLOWED and not (token or has_identity(environ)):
            message += f"\n{NO_CREDENTIALS}"
        status = _status(done.code)
        if submission is None:
            if done.code == 0:  # nothing was read that says so: never green by accident
                return cls(exits.UNEXPECTED, STATUSES[exits.UNEXPECTED], message="ldsboard submit printed no result.")
            return cls(done.code, status, message=message)
        part = "ranking" if submission.get("hidden") else "public"
        numbers = submission.get("hidden") or submission.get("public") or {}
        gates = {gate["gate"]: gate for gate in submission.get("gates", [])}
        return cls(done.code, status, part if numbers else None, numbers, submission, gates, message, done.out)

    @classmethod
    def of_public_part(cls, done: Finished, inputs: Inputs, note: str) -> Self:
        """Return the outcome of a job that ran ``ldsboard score --json``; check the smallest LDS that ``min-lds`` states.

        `note` says why nothing was submitted, from `ldsboard.ci.inputs.fork_note`.
        """
        numbers = _parsed(done.out)
        if numbers is None or done.code:
            return cls.of_failure(done if done.code else _unexpected(done))
        gates, message = {}, ""
        if (least := inputs.min_lds) is not None:
            met = numbers["lds"] >= least
            gates["min-lds"] = {"met": met, "required": least, "part": "public", "lds": numbers["lds"]}
            if not met:
                message = (
                    f"min-lds: expected an LDS of at least {least:g} on the public subsets, got {numbers['lds']:.4f}."
                )
        code = exits.GATE if message else 0
        status = STATUSES[exits.GATE] if message else PUBLIC_ONLY
        return cls(code, status, "public", numbers, None, gates, message, done.out, note)

    def unwritten(self, error: OSError) -> Self:
        """Return this outcome, with the message added that the outputs or the summary cannot be written.

        If the exit code of this outcome is 0, the returned outcome has the code and the status of an unexpected error.
        """
        message = "\n".join(filter(None, [self.message, f"The outputs or the summary cannot be written: {error}"]))
        if self.code:
            return replace(self, message=message)
        return replace(self, code=exits.UNEXPECTED, status=STATUSES[exits.UNEXPECTED], message=message)

    @property
    def is_offline(self) -> bool:
        """Whether the LDS was computed in the job itself, without a submission."""
        return self.submission is None and self.part is not None

    @property
    def difference(self) -> Mapping[str, Any] | None:
        """The comparison with the baseline of ``--no-regress-from``; None if there is no baseline.

        Members are ``difference``, ``ci``, ``p_value``, ``baseline`` (the id) and ``part``.
        """
        found = self.gates.get("no-regress-from")
        return found if found is not None and found["baseline"] is not None else None

    @property
    def rank(self) -> str:
        """The rank, such as ``3`` or ``3-5``; empty without a rank."""
        low, high = self.numbers.get("rank") or ("", "")
        return str(low) if low == high else f"{low}-{high}"

    def outputs(self, server: str, path: str) -> dict[str, str]:
        """Return the outputs of the job, by the names of ``action.yml``; values that are not known are empty.

        Parameters
        ----------
        server
            Address of the server.
        path
            Path of the file with `document`; empty if there is no such file.
        """
        low, high = self.numbers.get("ci") or (None, None)
        numbers = {
            "lds": self.numbers.get("lds"),
            "ci-low": low,
            "ci-high": high,
            "delta": (self.difference or {}).get("difference"),
        }
        return {
            "submission-id": str((self.submission or {}).get("id", "")),
            "url": self.url(server),
            "status": self.status,
            "rank": self.rank,
            "json-path": path,
        } | {name: "" if value is None else repr(value) for name, value in numbers.items()}

    def url(self, server: str) -> str:
        """Return the address of the submission's page; empty without a submission."""
        return f"{server.rstrip('/')}{self.submission['links']['page']}" if self.submission else ""


def error_message(lines: Sequence[str]) -> str:
    """Return what a command says about its failure: the text from the first line that begins with ``Error:``, without this word.

    If no line begins so, the text of all lines is returned. The text is cut to `LONGEST_MESSAGE` characters.
    """
    start = next((place for place, line in enumerate(lines) if line.startswith("Error:")), 0)
    text = "\n".join(line for line in lines[start:] if line.strip()).removeprefix("Error:").strip()
    return text[:LONGEST_MESSAGE] or "The command ended without a message."


def _status(code: int) -> str:
    return STATUSES.get(code, INTERRUPTED if code in (exits.INTERRUPTED, exits.TERMINATED) else "error")


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _unexpected(done: Finished) -> Finished:
    return type(done)(exits.UNEXPECTED, done.out, done.messages)
