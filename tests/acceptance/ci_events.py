"""Variables and event files of CI runs, as GitHub documents them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

HEAD, MERGE, PUSHED = "1" * 40, "9" * 40, "3" * 40
REPOSITORY, FORK = "lab/attribution", "octo-fork/attribution"
BASE = {"id": 74, "full_name": REPOSITORY, "default_branch": "main", "fork": False}


def github(folder: Path, name: str, event: dict[str, Any], **variables: str) -> dict[str, str]:
    """Return the variables of a run on GitHub; the event is written into a file."""
    path = folder / "event.json"
    path.write_text(json.dumps({"repository": BASE} | event))
    return {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTOR": "octocat",
        "GITHUB_EVENT_NAME": name,
        "GITHUB_EVENT_PATH": str(path),
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_RUN_ID": "4242",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_SHA": PUSHED,
        "GITHUB_WORKFLOW_REF": f"{REPOSITORY}/.github/workflows/lds.yml@refs/heads/main",
        "GITHUB_WORKSPACE": str(folder),
    } | variables


def push(folder: Path, commit: str = PUSHED) -> dict[str, str]:
    """Return the variables of a push to the default branch."""
    return github(folder, "push", {"ref": "refs/heads/main", "after": commit}, GITHUB_SHA=commit)


def manual(folder: Path) -> dict[str, str]:
    """Return the variables of a run that a user starts by hand."""
    return github(folder, "workflow_dispatch", {"inputs": {}, "ref": "refs/heads/main"})


def reusable(folder: Path) -> dict[str, str]:
    """Return the variables in a reusable workflow: they are those of the workflow that calls it."""
    return push(folder)


def pull_request(folder: Path, head: str | None = REPOSITORY, **variables: str) -> dict[str, str]:
    """Return the variables of a pull request from a repository, which is None if it has been deleted."""
    repository = None if head is None else {"id": 75, "full_name": head, "fork": head != REPOSITORY}
    side = {"ref": "faster", "sha": HEAD, "repo": repository}
    base = {"ref": "main", "sha": PUSHED, "repo": BASE}
    event = {"action": "synchronize", "number": 7, "pull_request": {"number": 7, "head": side, "base": base}}
    merge = {
        "GITHUB_REF": "refs/pull/7/merge",
        "GITHUB_SHA": MERGE,
        "GITHUB_HEAD_REF": "faster",
        "GITHUB_BASE_REF": "main",
    }
    return github(folder, "pull_request", event, **merge | variables)
