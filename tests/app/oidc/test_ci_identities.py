"""Identities of CI runs: what the claims of each provider say about repository, workflow, branch, pull request and commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.accounts.ci_identities import CiIdentity, read_identity, same_workflow, without_ref
from ldsboard.problems import ProblemError
from tests.app.oidc.provider import COMMIT

if TYPE_CHECKING:
    from app.settings import Settings
    from tests.app.oidc.provider import CiProvider

MERGE = "refs/pull/7/merge"


class Reader:
    """Reads identities from claims of the provider, without verification."""

    def __init__(self, provider: CiProvider, settings: Settings) -> None:
        self.provider, self.issuers = provider, settings.issuers

    def read(self, claims: dict[str, Any]) -> CiIdentity:
        return read_identity(self.issuers[claims["iss"]], claims)

    def refusal(self, claims: dict[str, Any]) -> str:
        with pytest.raises(ProblemError) as raised:
            self.read(claims)
        return f"{raised.value.problem.code}: {raised.value.problem}"


@pytest.fixture
def reader(provider: CiProvider, settings: Settings) -> Reader:
    return Reader(provider, settings)


@pytest.mark.parametrize(
    "subject",
    [
        "repo:octo-org/octo-repo:ref:refs/heads/main",
        "repo:octo-org@65/octo-repo@74:ref:refs/heads/main",
        "repo:evil/evil:environment:prod",
        "",
        None,
        7,
    ],
)
def test_subject_is_never_read(reader: Reader, subject: Any) -> None:
    identity = reader.read(reader.provider.github_claims(sub=subject))
    assert (identity.repository_id, identity.owner_id, identity.repository) == ("74", "65", "octo-org/octo-repo")


def test_github_push(reader: Reader) -> None:
    provider = reader.provider
    identity = reader.read(provider.github_claims(environment="release"))
    assert (identity.workflow, identity.called_workflow) == (".github/workflows/lds.yml", None)
    assert (identity.environment, identity.event, identity.ref_branch) == ("release", "push", "main")
    assert not identity.is_pull_request
    assert identity.provenance == {
        "repository": "octo-org/octo-repo",
        "commit": COMMIT,
        "branch": "main",
        "provider": "github",
        "url": f"{provider.address}/octo-org/octo-repo/actions/runs/4242",
    }


def test_temporary_merge_commit_of_a_pull_request_is_no_provenance(reader: Reader) -> None:
    claims = reader.provider.github_claims(event_name="pull_request", ref=MERGE, head_ref="faster", base_ref="main")
    identity = reader.read(claims)
    assert (identity.commit, identity.branch, identity.number) == (None, "faster", 7)
    assert (identity.ref_branch, identity.is_pull_request) == (None, True)
    assert identity.provenance.keys() == {"repository", "branch", "number", "provider", "url"}


def test_forgejo_pull_request_names_its_head_commit(reader: Reader) -> None:
    claims = reader.provider.forgejo_claims(event_name="pull_request", ref="refs/pull/3/head", head_ref="faster")
    identity = reader.read(claims)
    assert (identity.commit, identity.branch, identity.number) == (COMMIT, "faster", 3)
    assert identity.url == f"{reader.provider.address}/forge/user1/testing/actions/runs/43"
    assert identity.workflow == ".forgejo/workflows/lds.yml"


def test_gitlab_push(reader: Reader) -> None:
    identity = reader.read(reader.provider.gitlab_claims(environment="test"))
    assert (identity.repository_id, identity.owner_id, identity.workflow) == ("20", "72", ".gitlab-ci.yml")
    assert (identity.branch, identity.commit, identity.environment) == ("main", COMMIT, "test")
    assert identity.url == f"{reader.provider.gitlab}/my-group/my-project/-/pipelines/574"


def test_gitlab_child_pipeline_can_belong_to_a_merge_request(reader: Reader) -> None:
    identity = reader.read(reader.provider.gitlab_claims(pipeline_source="parent_pipeline"))
    assert (identity.branch, identity.ref_branch, identity.commit) == (None, None, None)
    assert identity.is_pull_request


def test_gitlab_merge_request_of_a_fork_is_the_fork(reader: Reader) -> None:
    claims = reader.provider.gitlab_claims(
        pipeline_source="merge_request_event", ref_path="refs/heads/faster", project_path="fork/copy", project_id="21"
    )
    identity = reader.read(claims)
    assert (identity.repository, identity.repository_id, identity.commit) == ("fork/copy", "21", None)
    assert (identity.branch, identity.ref_branch, identity.is_pull_request) == (None, None, True)
    assert identity.url == f"{reader.provider.gitlab}/my-group/my-project/-/pipelines/574"  # where the job runs


@pytest.mark.parametrize(
    "changes",
    [
        {"event_name": "pull_request", "head_ref": "main"},  # merged: the ref is the target branch
        {"event_name": "pull_request_review_comment"},
        {"event_name": "pull_request", "ref": "refs/pull/1234567890/merge", "head_ref": "main"},
        {"head_ref": "main"},
    ],
)
def test_pull_request_without_a_number_has_no_branch(reader: Reader, changes: dict[str, Any]) -> None:
    identity = reader.read(reader.provider.github_claims(**changes))
    assert (identity.is_pull_request, identity.ref_branch, identity.number) == (True, None, None)
    assert identity.provenance.keys().isdisjoint({"branch", "number"})


@pytest.mark.parametrize("event", ["pull_request_target", "workflow_run"])
def test_events_that_run_with_the_rights_of_the_repository_are_refused(reader: Reader, event: str) -> None:
    text = reader.refusal(reader.provider.github_claims(event_name=event))
    assert text.startswith("oidc.event: ")
    assert f"got {event}" in text
    assert reader.refusal(reader.provider.forgejo_claims(event_name=event)).startswith("oidc.event: ")


@pytest.mark.parametrize("event", ["create", "push", "repository_dispatch", "schedule", "workflow_dispatch"])
def test_event_of_a_branch_names_branch_and_commit(reader: Reader, event: str) -> None:
    provider = reader.provider
    for claims in (provider.github_claims(event_name=event), provider.forgejo_claims(event_name=event)):
        identity = reader.read(claims)
        assert (identity.branch, identity.ref_branch, identity.commit) == ("main", "main", COMMIT)


@pytest.mark.parametrize("event", ["create", "push", "release", "workflow_dispatch"])
def test_event_of_a_tag_names_its_commit(reader: Reader, event: str) -> None:
    identity = reader.read(reader.provider.github_claims(event_name=event, ref="refs/tags/v1", ref_type="tag"))
    assert (identity.branch, identity.commit) == (None, COMMIT)


@pytest.mark.parametrize(
    ("event", "ref"),
    [
        ("issue_comment", "refs/heads/main"),
        ("check_run", "refs/heads/main"),
        ("check_suite", "refs/heads/main"),
        ("status", "refs/heads/main"),
        ("deployment", "refs/heads/main"),
        ("deployment_status", "refs/heads/main"),
        ("deployment_status", ""),
        ("merge_group", "refs/heads/gh-readonly-queue/main/pr-7-abc"),
        ("invented_later", "refs/heads/main"),
    ],
)
def test_event_that_can_belong_to_a_pull_request_names_neither_branch_nor_commit(
    reader: Reader, event: str, ref: str
) -> None:
    provider = reader.provider
    for claims in (
        provider.github_claims(event_name=event, ref=ref),
        provider.forgejo_claims(event_name=event, ref=ref),
    ):
        identity = reader.read(claims)
        assert (identity.event, identity.ref_branch) == (event, None)
        assert identity.provenance.keys() == {"repository", "provider", "url"}


def test_forgejo_comment_with_the_ref_of_its_pull_request_names_number_and_commit(reader: Reader) -> None:
    identity = reader.read(reader.provider.forgejo_claims(event_name="issue_comment", ref="refs/pull/3/head"))
    assert (identity.branch, identity.commit, identity.number) == (None, COMMIT, 3)


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("repository_id", None),
        ("repository_id", ""),
        ("repository_id", "7 4"),
        ("repository_id", "\u0667\u0664"),
        ("repository_id", True),
        ("repository_id", "1" * 21),
        ("repository_owner_id", None),
        ("repository", None),
        ("repository", "x" * 201),
        ("repository", "a/b\u202ec"),
        ("event_name", None),
        ("job_workflow_ref", None),
        ("job_workflow_ref", ""),
        ("job_workflow_ref", ["o/r/.github/workflows/x.yml"]),
        ("job_workflow_ref", "o/r/.github/workflows/x.yml@refs/heads/a\u200bb"),
        ("job_workflow_ref", "o/r/.github/workflows/x.yml@refs/heads/" + "a/" * 240),
    ],
)
def test_missing_or_malformed_claim_is_named(reader: Reader, claim: str, value: Any) -> None:
    text = reader.refusal(reader.provider.github_claims() | {claim: value})
    assert text.startswith("oidc.claim: ")
    assert f"claim {claim}" in text


def test_instance_without_ids_is_refused_by_name(reader: Reader) -> None:
    text = reader.refusal(reader.provider.forgejo_claims(repository_id=None, repository_owner_id=None))
    assert f"The identity token of {reader.provider.forgejo} has no valid claim repository_id" in text


def test_ids_may_be_numbers(reader: Reader) -> None:
    identity = reader.read(reader.provider.github_claims(repository_id=74, repository_owner_id=65))
    assert (identity.repository_id, identity.owner_id) == ("74", "65")


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"sha": "main"}, "commit"),
        ({"sha": "A" * 40}, "commit"),
        ({"run_id": "1/../2"}, "url"),
        ({"run_id": None}, "url"),
        ({"ref": "refs/heads/\u202emain"}, "branch"),
        ({"ref": "refs/heads/\ud800"}, "branch"),
        ({"ref": "refs/heads/" + "x" * 300}, "branch"),
        ({"ref": ["refs/heads/main"]}, "branch"),
    ],
)
def test_values_that_cannot_be_shown_are_left_out(reader: Reader, changes: dict[str, Any], missing: str) -> None:
    assert missing not in reader.read(reader.provider.github_claims(**changes)).provenance


@pytest.mark.parametrize(
    ("workflow", "path"),
    [
        ("o/r/.github/workflows/a.yml@refs/heads/main", "o/r/.github/workflows/a.yml"),
        ("o/r/.github/workflows/a.yml@refs/heads/x@refs/heads/y", "o/r/.github/workflows/a.yml"),
        ("o/r/.github/workflows/a.yml@" + COMMIT, "o/r/.github/workflows/a.yml"),
        ("o/r/.github/workflows/a.yml@b.yml@refs/heads/main", "o/r/.github/workflows/a.yml@b.yml"),
        ("o/r/.github/workflows/a.yml@v1", "o/r/.github/workflows/a.yml@v1"),
        (None, None),
    ],
)
def test_reference_of_a_workflow_loses_its_ref_alone(workflow: str | None, path: str | None) -> None:
    assert without_ref(workflow) == path


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("Octo/Repo/.github/workflows/a.yml", "octo/repo/.github/workflows/a.yml", True),
        ("o/r/.github/workflows/a.yml", "o/r/.github/workflows/A.yml", False),
        ("o/r/.github/workflows/a.yml", "o/r2/.github/workflows/a.yml", False),
        ("o/r/.github/workflows/a.yml", None, False),
    ],
)
def test_names_of_repositories_ignore_case_and_paths_do_not(first: str, second: str | None, *, same: bool) -> None:
    assert same_workflow(first, second) is same


def test_workflow_file_of_another_repository_keeps_its_repository(reader: Reader) -> None:
    central = "octo-org/central/.github/workflows/lds.yml"
    claims = reader.provider.github_claims(workflow_ref=f"{central}@refs/heads/main")
    assert reader.read(claims).workflow == central
