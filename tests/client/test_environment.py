"""What the environment of a CI says about the origin of a score file: GitHub, Forgejo, Gitea, GitLab, Woodpecker and others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from app.accounts.ci_identities import BRANCH_EVENTS, GITLAB_BRANCH_EVENTS
from ldsboard.environment import ACTIONS_BRANCH_EVENTS, GITLAB_BRANCH_SOURCES, Origin, find_origin, in_ci

if TYPE_CHECKING:
    from pathlib import Path

HEAD, MERGE, BASE = "1" * 40, "9" * 40, "2" * 40
REPOSITORY = {"full_name": "lab/attribution", "default_branch": "main"}
FORK = {"full_name": "fork/attribution", "fork": True}
RUN = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_RUN_ID": "42", "GITHUB_RUN_NUMBER": "7"}
GITHUB = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "lab/attribution", "GITHUB_SHA": MERGE} | RUN
PAGE = "https://github.com/lab/attribution/actions/runs/42"


def pull_request(repository: Any = FORK, **head: Any) -> dict[str, Any]:
    head = {"ref": "faster", "sha": HEAD, "repo": repository} | head
    return {"number": 7, "pull_request": {"number": 7, "head": head, "base": {"sha": BASE}}, "repository": REPOSITORY}


def of_event(tmp_path: Path, event: object, variables: dict[str, str]) -> Origin:
    """Return the origin in an environment with a file of this event; a text is the content of the file."""
    path = tmp_path / "event.json"
    path.write_text(event if isinstance(event, str) else json.dumps(event))
    name = "FORGEJO_EVENT_PATH" if "FORGEJO_ACTIONS" in variables else "GITHUB_EVENT_PATH"
    return find_origin(GITHUB | {name: str(path)} | variables)


@pytest.mark.parametrize("value", ["false", "False", "0", "no", "NO", "off", "", " "])
def test_ci_that_is_switched_off_is_no_ci(value: str) -> None:
    assert not in_ci({"CI": value, "GITHUB_ACTIONS": "true"})
    assert find_origin(GITHUB | {"CI": value}) == Origin()


@pytest.mark.parametrize("value", ["true", "1", "yes", "woodpecker", "drone"])
def test_any_other_value_is_a_ci(value: str) -> None:
    assert in_ci({"CI": value})
    assert find_origin({"CI": value}) == Origin(provider="other")


def test_provider_tells_a_ci_without_the_variable_ci() -> None:
    assert not in_ci({})
    assert not in_ci({"GITHUB_ACTIONS": "false"})
    assert all(in_ci({name: "true"}) for name in ("GITHUB_ACTIONS", "GITEA_ACTIONS", "FORGEJO_ACTIONS", "GITLAB_CI"))
    assert find_origin({}) == Origin()


def test_push_has_commit_branch_and_page_of_the_run(tmp_path: Path) -> None:
    variables = {"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/topic/x", "GITHUB_SHA": HEAD}
    assert of_event(tmp_path, {"repository": REPOSITORY}, variables) == Origin(
        "github", "lab/attribution", HEAD, "topic/x", None, PAGE, "main"
    )
    tagged = of_event(tmp_path, {"repository": REPOSITORY}, variables | {"GITHUB_REF": "refs/tags/v1"})
    assert (tagged.branch, tagged.commit) == (None, HEAD)


@pytest.mark.parametrize("event_name", ["pull_request", "pull_request_target", "pull_request_review"])
def test_pull_request_has_head_commit_of_head_repository(tmp_path: Path, event_name: str) -> None:
    variables = {"GITHUB_EVENT_NAME": event_name, "GITHUB_REF": "refs/pull/7/merge", "GITHUB_HEAD_REF": "faster"}
    found = of_event(tmp_path, pull_request(), variables)
    assert found == Origin("github", "fork/attribution", HEAD, "faster", 7, PAGE, "main")
    assert found.provenance() == {
        "provider": "github",
        "repository": "fork/attribution",
        "commit": HEAD,
        "branch": "faster",
        "number": 7,
        "url": PAGE,
    }


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (None, "cannot be read"),
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "holds no object"),
        ("{}", "no head commit"),
        ('{"pull_request": 1, "repository": []}', "no head commit"),
        (pull_request(None, sha=None, ref=None), "no head commit"),
    ],
)
def test_pull_request_without_usable_event_never_has_the_merge_commit(
    tmp_path: Path, event: object, words: str
) -> None:
    variables = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/7/merge", "GITHUB_HEAD_REF": "faster"}
    if event is None:
        found = find_origin(GITHUB | variables | {"GITHUB_EVENT_PATH": str(tmp_path / "missing")})
    else:
        found = of_event(tmp_path, event, variables)
    assert (found.commit, found.repository, found.number, found.branch) == (None, None, 7, "faster")
    assert found.problem is not None
    assert words in found.problem


def test_event_file_that_is_not_named_or_no_text(tmp_path: Path) -> None:
    assert find_origin(GITHUB | {"GITHUB_REF": "refs/heads/main"}).problem == "the CI names no file with the event"
    (tmp_path / "event.json").write_bytes(b"\xff\xfe")
    for path in (tmp_path, tmp_path / "event.json"):
        found = find_origin(GITHUB | {"GITHUB_REF": "refs/heads/main", "GITHUB_EVENT_PATH": str(path)})
        assert found.problem is not None
        assert (found.commit, found.branch, found.default_branch) == (MERGE, "main", None)


def test_pull_request_of_unknown_number_has_no_branch(tmp_path: Path) -> None:
    variables = {"GITHUB_EVENT_NAME": "pull_request_target", "GITHUB_REF": "refs/heads/main", "GITHUB_HEAD_REF": "main"}
    found = of_event(tmp_path, {"repository": REPOSITORY}, variables)
    assert (found.branch, found.number, found.commit) == (None, None, None)


@pytest.mark.parametrize("number", [0, -1, 2**31, True, "7"])
def test_pull_request_of_impossible_number_is_no_branch_of_the_repository(tmp_path: Path, number: object) -> None:
    event = pull_request(ref="main")
    event["number"] = event["pull_request"]["number"] = number
    found = of_event(tmp_path, event, {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_HEAD_REF": "main"})
    assert (found.branch, found.number) == (None, None)


@pytest.mark.parametrize(
    ("run", "branch", "number"),
    [
        ({"head_branch": "main", "event": "push", "head_repository": REPOSITORY}, "main", None),
        ({"head_branch": "main", "event": "pull_request", "head_repository": FORK}, "fork:main", None),
        ({"head_branch": "main", "event": "push", "head_repository": FORK}, "fork:main", None),
        ({"head_branch": "main", "event": "pull_request", "head_repository": None}, "unknown:main", None),
        (
            {
                "head_branch": "x",
                "event": "pull_request",
                "head_repository": REPOSITORY,
                "pull_requests": [{"number": 3}],
            },
            "x",
            3,
        ),
        ({"head_branch": "x", "event": "pull_request", "head_repository": FORK, "pull_requests": []}, "fork:x", None),
    ],
)
def test_workflow_run_has_origin_of_the_run_that_made_the_file(
    tmp_path: Path, run: dict[str, Any], branch: str, number: int | None
) -> None:
    event = {"workflow_run": {"head_sha": HEAD, **run}, "repository": REPOSITORY}
    found = of_event(tmp_path, event, {"GITHUB_EVENT_NAME": "workflow_run", "GITHUB_REF": "refs/heads/main"})
    assert (found.commit, found.branch, found.number, found.default_branch) == (HEAD, branch, number, "main")


def test_comment_on_pull_request_names_no_commit(tmp_path: Path) -> None:
    variables = {"GITHUB_EVENT_NAME": "issue_comment", "GITHUB_REF": "refs/heads/main"}
    event = {"issue": {"number": 7, "pull_request": {"url": "x"}}, "repository": REPOSITORY}
    found = of_event(tmp_path, event, variables)
    assert (found.commit, found.branch, found.number) == (None, None, 7)
    on_issue = of_event(tmp_path, {"issue": {"number": 7}, "repository": REPOSITORY}, variables)
    assert (on_issue.commit, on_issue.branch, on_issue.number) == (MERGE, "main", None)


@pytest.mark.parametrize(
    ("variables", "provider"),
    [
        ({"FORGEJO_ACTIONS": "true", "GITEA_ACTIONS": "true"}, "forgejo"),
        ({"GITEA_ACTIONS": "true", "GITHUB_SERVER_URL": "https://codeberg.org"}, "forgejo"),
        ({"GITEA_ACTIONS": "true"}, "other"),
    ],
)
def test_forgejo_and_gitea_have_the_number_of_the_run_in_its_address(
    tmp_path: Path, variables: dict[str, str], provider: str
) -> None:
    names = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/7/head"}
    found = of_event(tmp_path, pull_request(), names | variables)
    assert (found.provider, found.commit, found.number, found.branch) == (provider, HEAD, 7, "faster")
    assert found.url is not None
    assert found.url.endswith("/lab/attribution/actions/runs/7")


def test_variables_of_forgejo_precede_those_of_github(tmp_path: Path) -> None:
    names = ("REPOSITORY", "SHA", "REF", "SERVER_URL", "RUN_NUMBER")
    values = ("own/x", HEAD, "refs/heads/dev", "https://code.example.org", "3")
    variables = {"FORGEJO_ACTIONS": "true", "FORGEJO_EVENT_NAME": "push"} | {
        f"FORGEJO_{name}": value for name, value in zip(names, values, strict=True)
    }
    found = of_event(tmp_path, {"repository": REPOSITORY}, variables)
    assert found == Origin(
        "forgejo", "own/x", HEAD, "dev", None, "https://code.example.org/own/x/actions/runs/3", "main"
    )


GITLAB = {
    "CI": "true",
    "GITLAB_CI": "true",
    "CI_PROJECT_PATH": "lab/attribution",
    "CI_COMMIT_SHA": MERGE,
    "CI_DEFAULT_BRANCH": "main",
    "CI_PIPELINE_URL": "https://gitlab.com/lab/attribution/-/pipelines/5",
}
MERGE_REQUEST = {
    "CI_MERGE_REQUEST_IID": "3",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": "fork/attribution",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "faster",
}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CI_COMMIT_BRANCH": "main"}, ("lab/attribution", MERGE, "main", None)),
        ({"CI_COMMIT_TAG": "v1"}, ("lab/attribution", MERGE, None, None)),
        # In a pipeline of the merge request itself, CI_COMMIT_SHA is the head, and the other variable is empty.
        (MERGE_REQUEST | {"CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": ""}, ("fork/attribution", MERGE, "faster", 3)),
        (MERGE_REQUEST | {"CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": HEAD}, ("fork/attribution", HEAD, "faster", 3)),
        (
            {
                "CI_EXTERNAL_PULL_REQUEST_IID": "8",
                "CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY": "fork/x",
                "CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_NAME": "y",
                "CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_SHA": HEAD,
            },
            ("fork/x", HEAD, "y", 8),
        ),
        ({"CI_MERGE_REQUEST_IID": "no number", "CI_COMMIT_BRANCH": "x"}, ("lab/attribution", MERGE, "x", None)),
    ],
)
def test_gitlab_has_head_of_merge_request(variables: dict[str, str], expected: tuple[str, str, str, int]) -> None:
    found = find_origin(GITLAB | variables)
    assert (found.repository, found.commit, found.branch, found.number) == expected
    assert (found.provider, found.default_branch, found.url) == ("gitlab", "main", GITLAB["CI_PIPELINE_URL"])


def test_source_of_a_gitlab_pipeline_whose_identity_proves_no_branch_is_known() -> None:
    found = {source: find_origin(GITLAB | {"CI_PIPELINE_SOURCE": source}) for source in ("push", "parent_pipeline", "")}
    assert [each.unproven_source for each in found.values()] == [None, "parent_pipeline", ""]
    assert "unproven_source" not in found["parent_pipeline"].provenance()
    assert find_origin(GITLAB | MERGE_REQUEST | {"CI_PIPELINE_SOURCE": "parent_pipeline"}).unproven_source is None
    assert GITLAB_BRANCH_SOURCES == GITLAB_BRANCH_EVENTS


def test_event_of_actions_whose_identity_proves_no_branch_is_known(tmp_path: Path) -> None:
    def source(name: str, ref: str = "refs/heads/main") -> str | None:
        variables = {"GITHUB_EVENT_NAME": name, "GITHUB_REF": ref}
        return of_event(tmp_path, {"repository": REPOSITORY}, variables).unproven_source

    found = [source(name) for name in ("push", "check_run", "issue_comment", "")]
    assert found == [None, "check_run", "issue_comment", ""]
    assert source("check_run", "refs/tags/v1") is None
    assert source("merge_group", "refs/heads/gh-readonly-queue/main/pr-7") is None
    assert ACTIONS_BRANCH_EVENTS == BRANCH_EVENTS


WOODPECKER = {
    "CI": "woodpecker",
    "CI_REPO": "lab/attribution",
    "CI_REPO_DEFAULT_BRANCH": "main",
    "CI_COMMIT_SHA": HEAD,
    "CI_COMMIT_BRANCH": "main",
    "CI_PIPELINE_URL": "https://ci.codeberg.org/repos/1/pipeline/2",
}


def test_woodpecker_has_source_branch_of_pull_request() -> None:
    pushed = find_origin(WOODPECKER)
    assert pushed == Origin("other", "lab/attribution", HEAD, "main", None, WOODPECKER["CI_PIPELINE_URL"], "main")
    pulled = find_origin(
        WOODPECKER | {"CI_FORGE_TYPE": "forgejo", "CI_COMMIT_PULL_REQUEST": "4", "CI_COMMIT_SOURCE_BRANCH": "faster"}
    )
    assert (pulled.provider, pulled.branch, pulled.number) == ("forgejo", "faster", 4)


def test_values_that_the_server_would_refuse_are_left_out() -> None:
    long = {"CI_REPO": "r" * 201, "CI_COMMIT_BRANCH": "b" * 256, "CI_PIPELINE_URL": "https://x/" + "u" * 500}
    assert find_origin(WOODPECKER | long | {"CI_COMMIT_SHA": "HEAD~1"}).provenance() == {"provider": "other"}
    odd = {
        "CI_REPO": "\x07",
        "CI_COMMIT_BRANCH": " ",
        "CI_PIPELINE_URL": "javascript:alert(1)",
        "CI_COMMIT_SHA": "ABCDEF1",
    }
    assert find_origin(WOODPECKER | odd).provenance() == {"provider": "other", "commit": "abcdef1"}
