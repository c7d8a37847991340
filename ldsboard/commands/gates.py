"""The gates of ``ldsboard submit``: two options that make the command fail if the LDS of the new submission is too low.

``--min-lds`` states the smallest LDS. ``--no-regress-from`` names an earlier submission, the baseline: by its id, or as
``latest``, the newest submission of the method from the default branch. This gate is not met if the LDS is significantly below
that of the baseline, by more than ``--tolerance``.

Before the file is sent, the command fails if it finds that a gate cannot be checked, so that no gate passes by accident. Only
``--no-regress-from latest`` passes without a check, if there is no earlier submission. The gates use the LDS on the ranking
subsets if the new submission is ranked and any baseline is ranked too, and otherwise the public LDS. With ``latest``, a
submission of the same commit is never the baseline: otherwise a failed CI run could be repeated, and would pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldsboard.client import FINAL_STATES, RefusedError
from ldsboard.commands.exits import TIMED_OUT, USAGE, fail
from ldsboard.commands.queries import account, history
from ldsboard.core.replicates import FILES_ONLY, in_words
from ldsboard.core.significance import half_width

if TYPE_CHECKING:
    from ldsboard.client import Client
    from ldsboard.environment import Origin

LATEST = "latest"
"""Value of ``--no-regress-from`` for the newest submission of the method from the default branch."""

TOLERANCE = 0.005
"""Default of ``--tolerance``: the largest drop of the LDS that `regressed` accepts, whatever its significance."""

ANY_DIFFERENCE = 2.0
"""A tolerance that no difference exceeds: ``--no-regress-from`` then only reports the difference, and cannot fail.

With this tolerance or more, the baseline does not decide which subsets ``--min-lds`` uses."""

SIGNIFICANT = 0.05
"""A drop with a smaller p-value of the paired test is significant."""

PARTS = {"ranking": "hidden", "public": "public"}
"""For each part of the subsets, the member of a submission that holds its numbers on this part."""


@dataclass(frozen=True)
class Outcome:
    """What a gate, ``--min-lds`` or ``--no-regress-from``, found for a submission.

    `met` says whether the LDS is high enough; without a baseline, ``--no-regress-from latest`` is met. `line` is a text for the
    user, and `numbers` is for programs.
    """

    met: bool
    line: str
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Gates:
    """The gates that a user asks for: options that make ``ldsboard submit`` fail if the LDS is too low.

    Attributes
    ----------
    min_lds
        Smallest LDS that meets the gate; None if there is no such gate.
    no_regress_from
        Id of a submission, or `LATEST`; None if there is no such gate.
    tolerance
        Largest drop of the LDS that is accepted.
    """

    min_lds: float | None = None
    no_regress_from: str | None = None
    tolerance: float = TOLERANCE

    def __bool__(self) -> bool:
        return self.min_lds is not None or self.no_regress_from is not None

    @property
    def wanted_baseline(self) -> str:
        """The value of ``--no-regress-from`` without spaces around it; empty if there is no such gate."""
        return (self.no_regress_from or "").strip()


@dataclass(frozen=True)
class Baseline:
    """The submission that a new submission is compared with, as the server shows it.

    ``subsets`` is the number of subsets of the benchmark in each part: ``ranking`` and ``public``.
    """

    submission: dict[str, Any]
    subsets: dict[str, int]


def check_usage(gates: Gates, visibility: str, *, waits: bool) -> None:
    """Exit with a usage error if the other options make it impossible to check ``--min-lds`` or ``--no-regress-from``."""
    if gates.no_regress_from is not None and not gates.no_regress_from.strip():
        fail(USAGE, "--no-regress-from: expected the id of a submission or latest, got an empty text.")
    if gates.wanted_baseline == LATEST and visibility == "anonymous":
        fail(USAGE, "--no-regress-from latest: anonymous submissions are in no history. Give the id of a submission.")
    if gates and not waits:
        fail(USAGE, "--min-lds and --no-regress-from need the result: leave out --no-wait and --dry-run.")


def find_baseline(
    client: Client, gates: Gates, fields: dict[str, Any], origin: Origin, timeout: float
) -> Baseline | None:
    """Return the submission that ``--no-regress-from`` names; exit if the new submission cannot be compared with it.

    The command calls this function before it sends the file.

    Parameters
    ----------
    client
        Client with the token of the submitter.
    gates
        The gates that the user asks for.
    fields
        The fields ``benchmark``, ``method`` and ``uses_subsets`` of the new submission; without ``uses_subsets``, it is false.
    origin
        Where the command runs; used only for `LATEST`. The command exits if the default branch is unknown. Unless the tolerance
        is `ANY_DIFFERENCE` or more, the command also exits if the identity of the CI run does not prove the branch.
    timeout
        Largest number of seconds to wait for a baseline that is not scored yet.

    Returns
    -------
    Baseline or None
        The baseline; None if the gate is not asked for, or if `LATEST` finds no submission.

    Raises
    ------
    ClientError
        A call to the server failed.
    """
    wanted = gates.wanted_baseline
    if wanted == LATEST:
        if gates.tolerance < ANY_DIFFERENCE:
            _check_branch_is_proven(client, origin)
        wanted = _latest(client, fields, origin) or ""
    if not wanted:
        return None
    try:
        found = client.submission(wanted)
        if found["state"] not in FINAL_STATES and found["state"] != "uploading":
            found = client.wait(wanted, timeout)
    except RefusedError as error:
        if error.problem.code in ("submission.unknown", "request.not_found"):
            fail(USAGE, f"--no-regress-from: {error}")
        raise
    if found["state"] != "scored":
        code = USAGE if found["state"] in {*FINAL_STATES, "uploading"} else TIMED_OUT
        fail(code, f"--no-regress-from: expected a scored submission, but {wanted} is {found['state']}.")
    current = client.benchmark(fields["benchmark"])
    versions = [f"{each['name']} version {each['version']}" for each in (current, found["benchmark"])]
    if versions[0] != versions[1]:
        fail(USAGE, f"--no-regress-from: expected a submission to {versions[0]}, but {wanted} is one to {versions[1]}.")
    return Baseline(found, current["subsets"])


def _check_branch_is_proven(client: Client, origin: Origin) -> None:
    """Exit if the submission of this run would have no branch, because the identity of the run proves none.

    No later run could find a submission without a branch. Every run would have no baseline, and would pass the gate.
    """
    if origin.unproven_source is not None and client.uses_identity:
        fail(
            USAGE,
            "--no-regress-from latest: expected a run whose identity proves the branch, such as one after a push, "
            f"got a run by {origin.unproven_source or 'an unknown event'}. The submission would have no branch, so no later run "
            "could be compared with it. Give the id of a submission, or set LDSBOARD_TOKEN to a token.",
        )


def _latest(client: Client, fields: dict[str, Any], origin: Origin) -> str | None:
    """Return the id of the user's newest scored submission of the method from the default branch; None if there is none.

    Only submissions with the same ``uses_subsets`` as `fields` are taken: a file that is fitted to the ranking subsets has a
    higher LDS, whatever its method. Submissions of the commit of this run are left out, because a run must not be compared with
    its own commit. A run for a tag or another branch can also have a commit of the default branch. Exit if the default branch is
    unknown.
    """
    branch = origin.default_branch
    if branch is None:
        reason = f" ({origin.problem})" if origin.problem else ""
        fail(
            USAGE,
            f"--no-regress-from latest: the default branch of the repository is unknown{reason}. "
            "Add --default-branch NAME, or give the id of a submission.",
        )
    owner = account(client)["name"]
    before = None
    while True:
        page = history(client, fields["benchmark"], owner=owner, method=fields["method"], branch=branch, before=before)
        for row in page["rows"]:
            origin_of_row = row["provenance"] or {}
            # Pull requests from a fork can come from a branch with the name of the default branch.
            is_of_branch = origin_of_row.get("branch") == branch and origin_of_row.get("number") is None
            is_alike = row.get("uses_subsets", False) == fields.get("uses_subsets", False)
            if is_of_branch and is_alike and not _same_commit(origin_of_row.get("commit"), origin.commit):
                return str(row["id"])
        if (before := page["next"]) is None:
            return None


def _same_commit(a: str | None, b: str | None) -> bool:
    """Return whether two commits are stated and equal; each can be shortened."""
    return bool(a and b and (a.startswith(b) or b.startswith(a)))


def judge(client: Client, submission: dict[str, Any], gates: Gates, baseline: Baseline | None) -> list[Outcome]:
    """Check ``--min-lds`` and ``--no-regress-from``, if the user asks for them, for a scored submission; return the outcomes.

    The server compares the submission with `baseline`; a ClientError is raised if this call fails.
    """
    compared = baseline.submission["kind"] if baseline and gates.tolerance < ANY_DIFFERENCE else "ranked"
    part = "ranking" if submission["kind"] == compared == "ranked" else "public"
    outcomes = []
    if gates.min_lds is not None:
        outcomes.append(_judge_lds(submission, part, gates.min_lds))
    if gates.no_regress_from is not None:
        outcomes.append(_judge_difference(client, submission, baseline, gates.tolerance))
    return outcomes


def _judge_lds(submission: dict[str, Any], part: str, least: float) -> Outcome:
    lds = (submission[PARTS[part]] or {}).get("lds")
    met = lds is not None and lds >= least
    got = "none" if lds is None else f"{lds:.4f}"
    line = (
        f"The LDS on the {part} subsets is {got}, and {least:g} is required."
        if met
        else f"Expected an LDS of at least {least:g} on the {part} subsets, got {got}."
    )
    return Outcome(met, line, {"gate": "min-lds", "met": met, "part": part, "lds": lds, "required": least})


def _judge_difference(
    client: Client, submission: dict[str, Any], baseline: Baseline | None, tolerance: float
) -> Outcome:
    numbers: dict[str, Any] = {"gate": "no-regress-from", "met": True, "baseline": None, "tolerance": tolerance}
    if baseline is None:
        return Outcome(True, "--no-regress-from latest: no baseline", numbers)
    base = baseline.submission["id"]
    found = client.compare(submission["id"], base)
    difference, p_value, part = found["difference"], found["p_value"], found["part"]
    met = not regressed(difference, p_value, tolerance)
    interval = found.get("ci")  # absent in the answers of older servers
    if interval is None:
        error = found["std_error"]
        half = float("nan") if error is None else half_width(error, baseline.subsets[part])
        interval = [difference - half, difference + half]
    shown = f"by {difference:+.4f} [{interval[0]:+.4f}, {interval[1]:+.4f}] (p {_format_p(p_value)}; {in_words(found)})"
    if met:
        line = f"The LDS on the {part} subsets differs from that of {base} {shown}."
    else:
        line = (
            f"The LDS on the {part} subsets is significantly worse than that of {base}, {shown}. "
            f"The drop is more than the tolerance of {tolerance:g}."
        )
    names = ("difference", "std_error", "p_value", "part")
    compared = {
        "replicates": found.get("replicates", [1, 1]),
        "spread": found.get("spread"),
        "note": FILES_ONLY if found.get("spread") is None else None,
    }
    return Outcome(
        met,
        line,
        numbers | {"met": met, "baseline": base, "ci": interval} | {name: found[name] for name in names} | compared,
    )


def regressed(difference: float, p_value: float | None, tolerance: float) -> bool:
    """Return whether a difference in LDS, new minus baseline, is a drop that fails ``--no-regress-from``.

    A drop fails if it exceeds the tolerance and is significant by the paired test. Only this function contains this rule. If both
    the new submission and the baseline have fewer than 3 replicates, the paired test compares two score files, not two methods:
    files from two seeds of one method often differ significantly. The tolerance accepts the small drops between such files.

    Parameters
    ----------
    difference
        LDS of the new submission minus LDS of the baseline.
    p_value
        Two-sided p-value of the paired test. None means that no test was possible; only the tolerance then decides.
    tolerance
        Largest drop that is accepted.
    """
    return difference < -tolerance and (p_value is None or p_value < SIGNIFICANT)


def _format_p(p_value: float | None) -> str:
    return "unknown" if p_value is None else f"{p_value:.2g}"
