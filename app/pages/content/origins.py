"""Template filters, one per function, for the addresses of a repository, commit and pull request.

A provenance states the address of a repository, or a name such as ``owner/name``. A name alone does not say which server hosts
the repository. In this case the functions take the server from the address of the CI run's page, because GitHub, GitLab and
Forgejo all put the page of a run below the address of the repository.
"""

from __future__ import annotations

import re
from typing import Any

COMMIT_PATHS = {"gitlab": "/-/commit/"}
"""Path of a commit below the address of its repository, by provider."""

OTHER_COMMIT_PATH = "/commit/"
"""Path of a commit on GitHub and Forgejo."""

REQUEST_PATHS = {"github": "/pull/", "gitlab": "/-/merge_requests/", "forgejo": "/pulls/"}
"""Path of a pull request or merge request below the address of its repository, by provider."""


def repository_address(origin: dict[str, Any]) -> str | None:
    """Return the address of the repository of a provenance; None if the repository's server is unknown."""
    name = str(origin.get("repository", ""))
    if re.fullmatch(r"https?://\S+", name):
        return name.rstrip("/").removesuffix(".git")
    server, middle, _ = origin.get("url", "").partition(f"/{name}/")
    return f"{server}/{name}" if name and middle and re.fullmatch(r"https?://[^\s/]\S*", server) else None


def commit_address(origin: dict[str, Any]) -> str | None:
    """Return the address of the commit of a provenance; None if the repository has no known address."""
    repository, commit = repository_address(origin), origin.get("commit")
    path = COMMIT_PATHS.get(origin.get("provider", ""), OTHER_COMMIT_PATH)
    return f"{repository}{path}{commit}" if repository and commit else None


def request_address(origin: dict[str, Any]) -> str | None:
    """Return the address of the pull request or merge request of a provenance; None if the address is unknown."""
    repository, path = repository_address(origin), REQUEST_PATHS.get(origin.get("provider", ""))
    return f"{repository}{path}{origin['number']}" if repository and path and "number" in origin else None


def request_name(origin: dict[str, Any]) -> str:
    """Return the number of a pull request as providers write it, such as "#12"; "!12" for a merge request of GitLab."""
    return f"{'!' if origin.get('provider') == 'gitlab' else '#'}{origin['number']}"
