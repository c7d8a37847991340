"""Where a command runs: the provider of a CI, and the repository, commit, branch, pull request and page of the run.

All values come from the environment variables of the CI and, on GitHub and Forgejo, from the file with the event. On a pull
request, repository and commit are those of its head, because the merge commit that the CI checks out is gone after the run.

- GitHub: https://docs.github.com/en/actions/reference/workflows-and-actions/variables
- Forgejo: https://forgejo.org/docs/latest/user/actions/reference/ (older runners and Gitea set the names of GitHub only)
- GitLab: https://docs.gitlab.com/ci/variables/predefined_variables/
- Woodpecker, which Codeberg also offers: https://woodpecker-ci.org/docs/usage/environment
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_CI = frozenset({"", "0", "false", "no", "off"})
"""Values of the variable ``CI`` that say that no CI runs the command, in lower case."""

PROVIDERS = ("github", "gitlab", "forgejo")
OTHER = "other"
"""Provider of a CI that is none of `PROVIDERS`."""

LIMITS = {"repository": 200, "branch": 255, "url": 500}
"""Largest number of characters that the server accepts. Longer values from the environment are left out."""

CODEBERG = "https://codeberg.org"

ACTIONS = ("GITHUB_ACTIONS", "FORGEJO_ACTIONS", "GITEA_ACTIONS")
"""Variables by which the runners of GitHub Actions, Forgejo and Gitea are known."""

ACTIONS_BRANCH_EVENTS = frozenset({"create", "push", "release", "repository_dispatch", "schedule", "workflow_dispatch"})
GITLAB_BRANCH_SOURCES = frozenset(
    {"api", "chat", "external", "pipeline", "push", "schedule", "trigger", "web", "webide"}
)
"""Events of Actions and sources of GitLab pipelines for which the identity of a run proves a branch, as on the server."""


@dataclass(frozen=True)
class Origin:
    """Where a score file comes from, as far as the environment says. Members that are not known are None.

    Attributes
    ----------
    provider
        One of `PROVIDERS`, or `OTHER`.
    repository, commit, branch
        Repository, commit and branch of the run; for a pull request, those of the head of the pull request.
    number
        Number of the pull request or merge request.
    url
        Page of the run.
    default_branch
        Default branch of the repository whose CI runs.
    problem
        Why the file with the event could not be used, as the end of a sentence.
    unproven_source
        Event of the run, or source of the GitLab pipeline. Only set if the run is not for a pull request or merge request, and
        the identity of a run with this event or source does not prove a branch; on Actions only for the default branch.
    """

    provider: str | None = None
    repository: str | None = None
    commit: str | None = None
    branch: str | None = None
    number: int | None = None
    url: str | None = None
    default_branch: str | None = None
    problem: str | None = None
    unproven_source: str | None = None

    def provenance(self) -> dict[str, Any]:
        """Return the known members as the API's fields of ``provenance``."""
        fields = asdict(replace(self, default_branch=None, problem=None, unproven_source=None))
        return {name: value for name, value in fields.items() if value is not None}


def in_ci(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether a CI runs the program, by the variable ``CI`` or, if missing, by variables such as ``GITHUB_ACTIONS``."""
    if "CI" in environ:
        return environ["CI"].strip().lower() not in NO_CI
    return on_actions(environ) or on_gitlab(environ)


def on_actions(environ: Mapping[str, str]) -> bool:
    """Return whether the program runs in GitHub Actions, or in the Actions of Forgejo or Gitea."""
    return any(_is_set(environ, name) for name in ACTIONS)


def on_gitlab(environ: Mapping[str, str]) -> bool:
    """Return whether the program runs in GitLab CI."""
    return _is_set(environ, "GITLAB_CI")


def find_origin(environ: Mapping[str, str] = os.environ) -> Origin:
    """Return the origin that the environment states; an empty origin if the variable ``CI`` says that there is no CI."""
    if "CI" in environ and not in_ci(environ):
        return Origin()
    if on_gitlab(environ):
        found = _gitlab(environ)
    elif on_actions(environ):
        found = _actions(environ)
    else:
        found = _generic(environ)
    return _acceptable(found)


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() not in NO_CI


def _actions(environ: Mapping[str, str]) -> Origin:
    """Return the origin in GitHub Actions, or in the Actions of Forgejo and Gitea, which set the variables of GitHub too."""

    def get(name: str) -> str | None:
        return environ.get(f"FORGEJO_{name}") or environ.get(f"GITHUB_{name}") or None

    forgejo = _is_set(environ, "FORGEJO_ACTIONS") or get("SERVER_URL") == CODEBERG
    gitea = _is_set(environ, "GITEA_ACTIONS")  # Forgejo sets this variable too
    # The page of a run has the number of the run in its address on Forgejo and Gitea, and the id of the run on GitHub.
    page = get("RUN_NUMBER" if forgejo or gitea else "RUN_ID")
    server, base = get("SERVER_URL"), get("REPOSITORY")
    event, problem = _read_event(get("EVENT_PATH"))
    name, ref = get("EVENT_NAME") or "", get("REF") or ""
    found = Origin(
        provider="forgejo" if forgejo else OTHER if gitea else "github",
        repository=base,
        commit=get("SHA"),
        branch=ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else None,
        url=f"{server}/{base}/actions/runs/{page}" if server and base and page else None,
        default_branch=_text(event, "repository", "default_branch"),
        problem=problem,
    )
    pull = re.fullmatch(r"refs/pull/(\d+)/(?:merge|head)", ref)
    if name == "workflow_run":
        return _of_earlier_run(found, event)
    if name.startswith("pull_request") or get("HEAD_REF") or pull or _dict(event, "pull_request"):
        return _of_pull_request(found, event, get("HEAD_REF"), pull and int(pull[1]))
    if _dict(event, "issue", "pull_request"):
        # A comment on a pull request: the run does not say which commit was meant.
        return replace(found, commit=None, branch=None, number=_number(event, "issue", "number"))
    if found.branch is None or found.branch != found.default_branch or name in ACTIONS_BRANCH_EVENTS:
        return found  # a run of another branch, such as one of a merge queue, is only compared with the default branch
    return replace(found, unproven_source=name)


def _of_pull_request(found: Origin, event: dict[str, Any], head_ref: str | None, ref_number: int | None) -> Origin:
    """Return the origin on a pull request: the head commit, never ``GITHUB_SHA``, which is a merge commit or the base."""
    commit = _text(event, "pull_request", "head", "sha")
    number = _number(event, "pull_request", "number") or _number(event, "number") or ref_number
    branch = _text(event, "pull_request", "head", "ref") or head_ref
    return replace(
        found,
        repository=_text(event, "pull_request", "head", "repo", "full_name"),
        commit=commit,
        # Without a number, a branch of a fork could pass for a branch of the repository.
        branch=branch if number else None,
        number=number,
        problem=found.problem or (None if commit else "the event names no head commit"),
    )


def _of_earlier_run(found: Origin, event: dict[str, Any]) -> Origin:
    """Return the origin on the event ``workflow_run``, on which a trusted workflow submits the file that an earlier run made.

    Repository, commit, branch and number are those of the earlier run.
    """
    repository = _text(event, "workflow_run", "head_repository", "full_name")
    commit, branch = _text(event, "workflow_run", "head_sha"), _text(event, "workflow_run", "head_branch")
    pulls = (_dict(event, "workflow_run") or {}).get("pull_requests")
    number = _number({"first": pulls[0]}, "first", "number") if isinstance(pulls, list) and pulls else None
    from_pull_request = (_text(event, "workflow_run", "event") or "").startswith("pull_request")
    if branch and number is None and (repository != found.repository or from_pull_request):
        # GitHub lists no pull request of a fork. Git allows no colon in a name, so this is never taken for the default branch.
        branch = f"{(repository or 'unknown').partition('/')[0]}:{branch}"
    problem = found.problem or (None if commit else "the event names no head commit")
    return replace(found, repository=repository, commit=commit, branch=branch, number=number, problem=problem)


def _gitlab(environ: Mapping[str, str]) -> Origin:
    """Return the origin in GitLab CI; merge requests, and pull requests of an external repository, have their own variables."""

    def get(name: str) -> str | None:
        return environ.get(f"CI_{name}") or None

    found = Origin(
        provider="gitlab",
        repository=get("PROJECT_PATH"),
        commit=get("COMMIT_SHA"),
        branch=get("COMMIT_BRANCH"),
        url=get("PIPELINE_URL"),
        default_branch=get("DEFAULT_BRANCH"),
    )
    for kind, repository in (
        ("MERGE_REQUEST", "SOURCE_PROJECT_PATH"),
        ("EXTERNAL_PULL_REQUEST", "SOURCE_REPOSITORY"),
    ):
        if number := _whole(get(f"{kind}_IID")):
            return replace(
                found,
                repository=get(f"{kind}_{repository}") or found.repository,
                # Set only where CI_COMMIT_SHA is a merge commit.
                commit=get(f"{kind}_SOURCE_BRANCH_SHA") or found.commit,
                branch=get(f"{kind}_SOURCE_BRANCH_NAME"),
                number=number,
            )
    source = environ.get("CI_PIPELINE_SOURCE", "")
    return found if source in GITLAB_BRANCH_SOURCES else replace(found, unproven_source=source)


def _generic(environ: Mapping[str, str]) -> Origin:
    """Return the origin in any other CI, read from the variables of Woodpecker.

    If these name no repository or no commit, the variables of GitHub and GitLab are read for the missing value.
    """

    def get(*names: str) -> str | None:
        return next((environ[name] for name in names if environ.get(name)), None)

    number = _whole(get("CI_COMMIT_PULL_REQUEST"))
    forge = (environ.get("CI_FORGE_TYPE") or OTHER).lower()
    return Origin(
        provider=(forge if forge in PROVIDERS else OTHER) if in_ci(environ) else None,
        repository=get("CI_REPO", "GITHUB_REPOSITORY", "CI_PROJECT_PATH"),
        commit=get("CI_COMMIT_SHA", "GITHUB_SHA"),
        # On a pull request, CI_COMMIT_BRANCH is the branch that the pull request is made for.
        branch=get("CI_COMMIT_SOURCE_BRANCH") if number else get("CI_COMMIT_BRANCH"),
        number=number,
        url=get("CI_PIPELINE_URL"),
        default_branch=get("CI_REPO_DEFAULT_BRANCH"),
    )


def _read_event(path: str | None) -> tuple[dict[str, Any], str | None]:
    """Return the event in a file, and None; if the file cannot be read, return an empty event and the reason."""
    if not path:
        return {}, "the CI names no file with the event"
    try:
        event = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"the file with the event, {path}, cannot be read ({str(error)[:100]})"
    if not isinstance(event, dict):
        return {}, f"the file with the event, {path}, holds no object"
    return event, None


def _look(event: object, *names: str) -> object:
    for name in names:
        event = event.get(name) if isinstance(event, dict) else None
    return event


def _dict(event: dict[str, Any], *names: str) -> dict[str, Any] | None:
    found = _look(event, *names)
    return found if isinstance(found, dict) else None


def _text(event: dict[str, Any], *names: str) -> str | None:
    found = _look(event, *names)
    return found if isinstance(found, str) and found else None


def _number(event: dict[str, Any], *names: str) -> int | None:
    found = _look(event, *names)
    return found if type(found) is int else None


def _whole(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch("[0-9]{1,10}", text) else None


def _acceptable(found: Origin) -> Origin:
    """Return an origin without the values that the server would refuse, because the server would refuse the whole submission."""
    changes: dict[str, Any] = {}
    for name, limit in LIMITS.items():
        text = getattr(found, name)
        if text is not None and not (len(text) <= limit and text.isprintable() and text.strip()):
            changes[name] = None
    if found.url is not None and not re.match(r"https?://\S+\Z", found.url):
        changes["url"] = None
    if found.commit is not None:
        commit = found.commit.lower()
        changes["commit"] = commit if re.fullmatch("[0-9a-f]{7,64}", commit) else None
    if found.number is not None and not 1 <= found.number < 2**31:
        # A pull request stays distinguishable from a branch of the repository.
        changes |= {"number": None, "branch": None}
    return replace(found, **changes)
