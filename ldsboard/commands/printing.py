"""Print the results of the commands, as text or JSON, on standard output, and warnings on standard error."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

from ldsboard.commands.exits import errors
from ldsboard.core.result import FEW_TARGETS, WARNINGS
from ldsboard.counts import count
from ldsboard.problems import Problem

output = Console(highlight=False, soft_wrap=True, width=None if sys.stdout and sys.stdout.isatty() else 200)


def show(submission: dict[str, Any], *, as_json: bool) -> None:
    """Print the state and result of a submission, as text or as the JSON that the server sent."""
    if as_json:
        print_json(submission)
        return
    output.print(f"{submission['id']}  {submission['method']}  {submission['kind']}  {submission['state']}")
    if notice := submission.get("notice"):  # absent in the responses of older servers
        output.print(notice, markup=False)
    over_targets = (submission["public"] or {}).get("targets")  # absent in the responses of older servers
    targets = over_targets["count"] if over_targets else None
    if hidden := submission["hidden"]:
        of_ceiling = f", {format_share(hidden)} of the ceiling" if format_share(hidden) else ""
        rank = f", rank {format_place(hidden)}" if hidden["rank"] else ""
        if submission.get("uses_subsets"):  # absent in the responses of older servers
            rank = ", declared: fitted to these subsets"
        output.print(f"LDS {format_interval(hidden)}{of_ceiling}{rank}")
        print_new_targets(hidden, targets)
    if submission["public"]:
        output.print(f"Public LDS {format_interval(submission['public'])}")
        print_new_targets(submission["public"], targets)
    if replicates := submission.get("replicates"):  # absent in the responses of older servers
        output.print(
            f"Mean LDS of {len(replicates['ids'])} replicates on the {replicates['part']} subsets {replicates['lds']:.4f}, "
            f"standard deviation {replicates['spread']:.4f}"
        )
    if counterfactual := submission.get("counterfactual"):  # absent in the responses of older servers
        output.print(format_fall(counterfactual), markup=False)
    print_warnings(submission["warnings"])
    if submission["error"]:
        errors.print(f"{Problem.from_dict(submission['error'])} [{submission['error']['code']}]", markup=False)


def print_new_targets(numbers: dict[str, Any], targets: int | None) -> None:
    """Print the standard error of an LDS for a new draw of targets, if there are fewer than `FEW_TARGETS` targets.

    Parameters
    ----------
    numbers
        The numbers of a result; ``std_error_new_targets`` is absent in the responses of older servers.
    targets
        Number of targets; None if the server did not state this number. Without this number, nothing is printed.
    """
    error = numbers.get("std_error_new_targets")
    if error is not None and targets is not None and targets < FEW_TARGETS:
        output.print(
            f"  Standard error for a new draw of targets: {error:.4f}. The interval is for these {targets} targets."
        )


def format_fall(counterfactual: dict[str, Any]) -> str:
    """Format the headline of a counterfactual evaluation, or its state while there is no result."""
    state, headline = counterfactual["state"], counterfactual["headline"]
    if state != "done":
        details = {
            "running": f"{counterfactual['percent']} % of the models are trained",
            "impossible": counterfactual["reason"],
        }
        return f"Retraining without examples: {details.get(state, state)}"
    wanted = ("proponents", headline)
    row = next(row for row in counterfactual["rows"] if (row["direction"], row["removed"]) == wanted)
    low, high = row["ci"]
    interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    targets = count(len(counterfactual["targets"]), "target")
    return f"Fall of the margin without {headline} proponents {row['fall']:.3f}{interval}, mean of {targets}"


def format_headline_fall(row: dict[str, Any]) -> str:
    """Format the fall of a leaderboard row, the 95 % interval of the fall, and its rank; empty if the row has no fall."""
    if not (fall := row.get("fall")):
        return ""
    low, high = fall["ci"]
    interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    return f"{fall['fall']:.3f}{interval}" + (f", {format_place(row | fall)}" if fall["rank"] else "")


def format_rank(rank: list[int] | None) -> str:
    """Format a rank interval, such as ``3-5``; a single rank is one number, and a dash stands for no rank."""
    low, high = rank or ("-", "-")
    return str(low) if low == high else f"{low}-{high}"


def format_place(numbers: dict[str, Any]) -> str:
    """Format the rank of an entry as the board shows it: in parentheses if the entry is not in the family of the board."""
    rank = format_rank(numbers["rank"])
    return f"({rank})" if numbers.get("in_family") is False else rank


def format_interval(numbers: dict[str, Any]) -> str:
    """Format an LDS and the 95 % interval of the LDS."""
    low, high = numbers["ci"]
    return f"{numbers['lds']:.4f} [{low:.4f}, {high:.4f}]"


def format_replicates(row: dict[str, Any]) -> str:
    """Format the number and the spread of the replicates of an entry; return an empty string for a single file."""
    if row.get("replicates", 1) == 1:
        return ""
    return f", mean of {row['replicates']}, spread {row['spread']:.4f}"


def format_share(numbers: dict[str, Any]) -> str:
    """Format the LDS as a percentage of the noise ceiling; return an empty string if the noise ceiling is unknown."""
    return "" if numbers["of_ceiling"] is None else f"{numbers['of_ceiling']:.1%}"


def print_warnings(codes: list[str]) -> None:
    """Print the text of each warning code on standard error."""
    for code in codes:
        errors.print(f"Warning: {WARNINGS.get(code, code)} [{code}]", markup=False)


def print_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    print(json.dumps(value, indent=2))  # noqa: T201 -- plain text, without rich markup
