"""Publishers: which runs they let exchange their identity for a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.accounts import users
from app.accounts.minting import LIFETIME
from app.db.accounts import Publisher, Scope, User
from app.db.base import now
from tests.app.oidc.provider import COMMIT

if TYPE_CHECKING:
    from tests.app.oidc.exchange import Exchange
    from tests.app.oidc.provider import CiProvider

CALLED = "octo-org/shared/.github/workflows/score.yml"


@pytest.mark.parametrize(
    "subject", ["repo:octo-org/octo-repo:ref:refs/heads/main", "repo:octo-org@65/octo-repo@74:ref:refs/heads/main"]
)
def test_run_of_a_trusted_workflow_gets_a_token(exchange: Exchange, provider: CiProvider, subject: str) -> None:
    publisher = exchange.register()
    row, value = exchange.mint(provider.github_claims(sub=subject))
    assert value.startswith("ldsb_")
    assert (row.method, row.scopes, row.user_id) == ("ours", [Scope.SUBMIT], publisher.user_id)
    assert row.expires_at is not None
    assert now() < row.expires_at <= now() + LIFETIME
    assert row.claims is not None
    assert (row.claims["publisher"], row.claims["repository_id"]) == (publisher.id, "74")
    assert row.claims["provenance"]["commit"] == COMMIT
    with exchange.database.read() as session:
        account = users.authenticate(session, f"Bearer {value}")
    assert (account.method, account.verified_origin) == ("ours", row.claims["provenance"])


@pytest.mark.parametrize(
    ("registered", "changes", "claim", "got"),
    [
        ({}, {"repository_id": "75"}, "repository_id", "75"),
        ({}, {"repository_owner_id": "66"}, "repository_owner_id", "66"),
        ({}, {"workflow_ref": "octo-org/octo-repo/.github/workflows/x.yml@refs/heads/main"}, "workflow_ref", "x.yml"),
        ({}, {"workflow_ref": None}, "workflow_ref", "no workflow"),
        ({}, {"job_workflow_ref": f"{CALLED}@refs/heads/main"}, "job_workflow_ref", CALLED),
        ({"called_workflow": CALLED}, {}, "job_workflow_ref", "no reusable workflow"),
        (
            {"called_workflow": CALLED},
            {"job_workflow_ref": f"{CALLED}.yml@{COMMIT}"},
            "job_workflow_ref",
            f"{CALLED}.yml",
        ),
        ({"environment": "release"}, {}, "environment", "no environment"),
        ({"environment": "release"}, {"environment": "test"}, "environment", "test"),
        ({"branch": "main"}, {"ref": "refs/heads/other"}, "ref", "other"),
        ({"branch": "main"}, {"ref": "refs/tags/main"}, "ref", "no branch"),
        ({"branch": "main"}, {"ref": "refs/pull/7/merge", "head_ref": "main"}, "ref", "a pull request"),
        ({"branch": "main"}, {"event_name": "issue_comment"}, "ref", "no branch, on the event issue_comment"),
        ({"branch": "main"}, {"event_name": "pull_request"}, "ref", "a pull request"),
        ({"branch": "main"}, {"event_name": "pull_request_review"}, "ref", "a pull request"),
        ({"branch": "main"}, {"head_ref": "main"}, "ref", "a pull request"),
    ],
)
def test_refusal_names_the_claim_that_differs(
    exchange: Exchange, provider: CiProvider, registered: dict[str, Any], changes: dict[str, Any], claim: str, got: str
) -> None:
    exchange.register(**registered)
    problem = exchange.refusal(provider.github_claims(**changes))
    assert problem.code == "oidc.publisher"
    assert claim in (problem.expected or "")
    assert got in (problem.got or "")


def test_refusal_of_a_workflow_shows_both_references(exchange: Exchange, provider: CiProvider) -> None:
    exchange.register(called_workflow=CALLED)
    other = "octo-org/shared/.github/workflows/other.yml"
    problem = exchange.refusal(provider.github_claims(job_workflow_ref=f"{other}@refs/tags/v1"))
    assert problem.expected == f"the claim workflow_ref and job_workflow_ref: .github/workflows/lds.yml and {CALLED}"
    assert problem.got == f".github/workflows/lds.yml and {other}"


@pytest.mark.parametrize(
    "ref", [f"{CALLED}@refs/tags/v2", f"{CALLED}@{COMMIT}", f"Octo-Org/{CALLED.partition('/')[2]}@refs/x"]
)
def test_called_workflow_is_compared_without_its_ref(exchange: Exchange, provider: CiProvider, ref: str) -> None:
    exchange.register(called_workflow=CALLED)
    assert exchange.mint(provider.github_claims(job_workflow_ref=ref))


def test_required_environment_and_branch_are_accepted(exchange: Exchange, provider: CiProvider) -> None:
    exchange.register(environment="Release", branch="main")
    assert exchange.mint(provider.github_claims(environment="release"))


GITLAB = {"repository": "my-group/my-project", "repository_id": "20", "owner_id": "72", "workflow": ".gitlab-ci.yml"}


@pytest.mark.parametrize(
    "event", ["merge_request_event", "external_pull_request_event", "parent_pipeline", "of_a_later_version"]
)
def test_merge_request_from_a_branch_of_the_same_name_meets_no_required_branch(
    exchange: Exchange, provider: CiProvider, event: str
) -> None:
    exchange.register(issuer=provider.gitlab, branch="main", **GITLAB)
    problem = exchange.refusal(provider.gitlab_claims(pipeline_source=event))
    assert (problem.code, problem.got) == ("oidc.publisher", "a pull request")


def test_names_of_environments_ignore_case_on_github_alone(exchange: Exchange, provider: CiProvider) -> None:
    exchange.register(issuer=provider.gitlab, environment="production", **GITLAB)
    assert exchange.mint(provider.gitlab_claims(environment="production"))
    problem = exchange.refusal(provider.gitlab_claims(environment="PRODUCTION"))
    assert (problem.code, problem.got) == ("oidc.publisher", "PRODUCTION")


def test_offered_environment_is_remembered_until_a_run_has_none(exchange: Exchange, provider: CiProvider) -> None:
    publisher = exchange.register()

    def state() -> tuple[bool, str | None, str]:
        with exchange.database.read() as session:
            row = session.get_one(Publisher, publisher.id)
            return row.used_at is not None, row.offered_environment, row.repository

    assert state() == (False, None, "octo-org/octo-repo")
    renamed = "octo-org/renamed/.github/workflows/lds.yml@refs/heads/main"
    names = {"repository": "octo-org/renamed", "workflow_ref": renamed, "job_workflow_ref": renamed}
    exchange.mint(provider.github_claims(environment="release", **names))
    assert state() == (True, "release", "octo-org/renamed")
    exchange.mint(provider.github_claims())
    assert state() == (True, None, "octo-org/octo-repo")


def test_renamed_repository_stays_trusted(exchange: Exchange, provider: CiProvider) -> None:
    exchange.register()
    workflow = "new/name/.github/workflows/lds.yml@refs/heads/main"
    claims = provider.github_claims(repository="new/name", workflow_ref=workflow, job_workflow_ref=workflow)
    assert exchange.mint(claims)


def test_other_repository_learns_nothing_about_publishers(exchange: Exchange, provider: CiProvider) -> None:
    stranger = provider.github_claims(repository_id="1000", repository="evil/evil")
    before = [
        exchange.refusal(stranger, owner="alice"),
        exchange.refusal(stranger, owner="x"),
    ]
    exchange.register()
    exchange.register(environment="secret-environment", branch="secret-branch")
    after = [
        exchange.refusal(stranger, owner="alice"),
        exchange.refusal(stranger, owner="x"),
    ]
    assert before == after
    assert "evil/evil" in (after[0].got or "")


def test_message_for_a_fork_says_what_to_do(exchange: Exchange, provider: CiProvider) -> None:
    exchange.register()
    problem = exchange.refusal(provider.github_claims(repository_id="1000", repository="fork/octo-repo"))
    assert "ldsboard score FILE --benchmark NAME" in problem.hint
    assert "repository id 1000" in problem.hint


def test_other_method_and_other_issuer_are_refused(exchange: Exchange, provider: CiProvider) -> None:
    exchange.register()
    assert exchange.refusal(provider.github_claims(), method="theirs").code == "oidc.publisher"
    same_ids = provider.forgejo_claims(repository_id="74", repository_owner_id="65")
    assert exchange.refusal(same_ids).code == "oidc.publisher"


@pytest.mark.parametrize("owner", ["alice", "bob"])
def test_registration_by_a_stranger_changes_nothing_for_the_named_owner(
    exchange: Exchange, provider: CiProvider, owner: str
) -> None:
    exchange.register("alice", environment="release")
    exchange.register("bob")
    claims = provider.github_claims(environment="release")
    token, _ = exchange.mint(claims, owner=owner)
    with exchange.database.read() as session:
        assert session.get_one(User, token.user_id).name == owner
    assert exchange.refusal(provider.github_claims(), owner="alice").code == "oidc.publisher"
    assert exchange.refusal(provider.github_claims(), owner="carol").code == "oidc.publisher"


def test_several_publishers_of_a_method_are_tried(exchange: Exchange, provider: CiProvider) -> None:
    exchange.register(branch="release")
    exchange.register(branch="main")
    assert exchange.mint(provider.github_claims())


def test_gitlab_and_forgejo_runs_get_tokens(exchange: Exchange, provider: CiProvider) -> None:
    gitlab = {"issuer": provider.gitlab, "repository": "my-group/my-project", "repository_id": "20", "owner_id": "72"}
    exchange.register(**gitlab, workflow=".gitlab-ci.yml", branch="main")
    forgejo = {"issuer": provider.forgejo, "repository": "user1/testing", "repository_id": "84", "owner_id": "9"}
    exchange.register(**forgejo, workflow=".forgejo/workflows/lds.yml", branch="main")
    assert exchange.mint(provider.gitlab_claims())
    assert exchange.mint(provider.forgejo_claims())
    elsewhere = exchange.refusal(
        provider.gitlab_claims(ci_config_ref_uri="evil.example/x//.gitlab-ci.yml@refs/heads/main")
    )
    assert "ci_config_ref_uri" in (elsewhere.expected or "")
