"""What commands print: tables, numbers and warnings for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

from ldsboard.exits import errors
from ldsboard.result import WARNINGS

output = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


def show(submission: dict[str, Any], *, as_json: bool) -> None:
    """Print a submission as the server has it."""
    if as_json:
        print_json(submission)
        return
    output.print(f"{submission['id']}  {submission['method']}  {submission['kind']}  {submission['state']}")
    if submission["hidden"]:
        rank = submission["hidden"]["rank"]
        place = f", rank {rank[0]}-{rank[1]}" if rank else ""
        of_ceiling = f", {format_share(submission['hidden'])} of the ceiling" if format_share(submission["hidden"]) else ""
        output.print(f"LDS {format_interval(submission['hidden'])}{of_ceiling}{place}")
    if submission["public"]:
        output.print(f"Public LDS {format_interval(submission['public'])}")
    print_warnings(submission["warnings"])
    if submission["error"]:
        errors.print(f"{submission['error']['detail']} [{submission['error']['code']}]", markup=False)


def format_interval(numbers: dict[str, Any]) -> str:
    """Write an LDS with its interval."""
    low, high = numbers["ci"]
    return f"{numbers['lds']:.4f} [{low:.4f}, {high:.4f}]"


def format_share(numbers: dict[str, Any]) -> str:
    """Write the share of the noise ceiling; nothing where that is unknown."""
    return "" if numbers["of_ceiling"] is None else f"{numbers['of_ceiling']:.1%}"


def print_warnings(codes: list[str]) -> None:
    """Print warnings on standard error, by their codes."""
    for code in codes:
        errors.print(f"Warning: {WARNINGS.get(code, code)} [{code}]", markup=False)


def print_json(value: object) -> None:
    """Print a value for programs."""
    print(json.dumps(value, indent=2))  # noqa: T201 -- plain text for other programs
