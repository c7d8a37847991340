"""``ldsboard submit`` in CI without a stored secret: the identity of the run is exchanged for tokens of the server."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from app.db.accounts import Token
from ldsboard import identity
from ldsboard.commands.exits import NOT_ALLOWED, UNREACHABLE, USAGE
from tests.app.oidc.provider import COMMIT
from tests.client.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.oidc.provider import CiProvider
    from tests.app.service import Service


@pytest.fixture
def shell(
    oidc_service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """The shell of a job that has no token."""
    for name, value in {
        "LDSBOARD_SERVER": oidc_service.url,
        "LDSBOARD_CACHE": str(tmp_path / "cache"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "CI": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("ldsboard.client.PAUSE_SECONDS", 0)
    return Shell(monkeypatch, capsys)


@pytest.fixture
def scores(toy: Example, tmp_path: Path) -> Path:
    path = tmp_path / "scores.npy"
    np.save(path, toy.scores())
    return path


@pytest.fixture
def publisher(oidc_service: Service, shared_provider: CiProvider, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a user who trusts the workflows of the provider for the method that is called like the test."""
    name = f"cli-{abs(hash(request.node.name)) % 10**8}"
    headers = {"Authorization": f"Bearer {oidc_service.token(name)}"}
    for wanted in (
        {"issuer": shared_provider.github, "repository": "octo-org/octo-repo", "repository_id": "74", "owner_id": "65"}
        | {"workflow": ".github/workflows/lds.yml"},
        {"issuer": shared_provider.gitlab, "repository": "my-group/my-project", "repository_id": "20", "owner_id": "72"}
        | {"workflow": ".gitlab-ci.yml"},
    ):
        created = oidc_service.client.post("/publishers", headers=headers, json={"method": name} | wanted)
        assert created.status_code == 201, created.text
    yield name
    for each in oidc_service.client.get("/publishers", headers=headers).json():
        oidc_service.client.delete(f"/publishers/{each['id']}", headers=headers)


def minted(service: Service, name: str) -> list[Token]:
    with service.database.read() as session:
        return [token for token in session.query(Token).order_by(Token.id) if token.method == name]


def job(shell: Shell, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        shell.environment.setenv(name, value)


def test_job_submits_with_its_identity_and_gets_verified_provenance(
    shell: Shell, oidc_service: Service, provider: CiProvider, publisher: str, scores: Path
) -> None:
    job(shell, provider.environment | {"LDSBOARD_OWNER": publisher, "GITHUB_SHA": "9" * 40, "GITHUB_ACTIONS": "true"})
    done = shell(
        "submit", str(scores), "toy", "--method", publisher, "--json",
        "--no-regress-from", "latest", "--default-branch", "main",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert (done.json["owner"], done.json["kind"]) == (publisher, "practice")
    assert done.json["provenance"]["verified"]
    assert done.json["provenance"]["commit"] == COMMIT  # the claim, and not the variable of the job
    assert "no baseline" in done.err
    assert len(minted(oidc_service, publisher)) == 1


def test_token_is_renewed_before_it_expires(
    shell: Shell,
    oidc_service: Service,
    provider: CiProvider,
    publisher: str,
    scores: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(identity, "RENEWED_BEFORE", timedelta(minutes=16))  # longer than a token lives
    job(shell, provider.environment)
    done = shell("submit", str(scores), "toy", "--method", publisher, "--owner", publisher, "--json")
    assert done.code == 0, done.err
    assert len(minted(oidc_service, publisher)) > 1


def test_gitlab_job_uses_each_of_its_identity_tokens_once(
    shell: Shell,
    oidc_service: Service,
    provider: CiProvider,
    publisher: str,
    scores: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    audience = oidc_service.client.get("/oidc/audience").json()["audience"]
    tokens = [provider.sign(provider.gitlab_claims(audience)) for _ in range(2)]
    job(shell, dict(zip(identity.ID_TOKENS, tokens, strict=True)))
    submit = ("submit", str(scores), "toy", "--method", publisher, "--owner", publisher)
    assert shell(*submit).code == 0
    assert shell(*submit).code == 0  # with the second identity token, because the first is used
    assert len(minted(oidc_service, publisher)) == 2
    refused = shell(*submit)
    assert refused.code == NOT_ALLOWED
    assert "[oidc.used]" in refused.err
    monkeypatch.setattr(identity, "RENEWED_BEFORE", timedelta(minutes=16))
    job(shell, {identity.ID_TOKENS[0]: provider.sign(provider.gitlab_claims(audience)), identity.ID_TOKENS[1]: ""})
    ended = shell(*submit)
    assert ended.code == NOT_ALLOWED
    assert "Add LDSBOARD_ID_TOKEN_2 to the id_tokens of the job" in ended.err


def test_latest_needs_a_pipeline_of_gitlab_whose_identity_proves_the_branch(
    shell: Shell, oidc_service: Service, provider: CiProvider, publisher: str, scores: Path
) -> None:
    audience = oidc_service.client.get("/oidc/audience").json()["audience"]
    signed = provider.sign(provider.gitlab_claims(audience, pipeline_source="parent_pipeline"))
    pushed = {"GITLAB_CI": "true", "CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main"}
    half = {identity.REQUEST_URL: "http://127.0.0.1:1"}  # without the other variable, nothing can be requested
    job(shell, pushed | half | {"CI_PIPELINE_SOURCE": "parent_pipeline", identity.ID_TOKENS[1]: signed})
    submit = ("submit", str(scores), "toy", "--method", publisher, "--owner", publisher)
    before = oidc_service.rows()["submission"]
    refused = shell(*submit, "--no-regress-from", "latest")
    assert refused.code == USAGE
    assert "got a run by parent_pipeline" in refused.err
    assert oidc_service.rows()["submission"] == before
    with_token = (*submit, "--token", oidc_service.token(publisher), "--no-regress-from", "latest")
    assert shell(*with_token).code == 0
    reported = shell(*submit, "--no-regress-from", "latest", "--tolerance", "2", "--json")
    assert reported.code == 0, reported.err


@pytest.mark.parametrize(
    ("variables", "code", "words"),
    [
        ({}, NOT_ALLOWED, "LDSBOARD_TOKEN"),
        ({"CI": "false"}, NOT_ALLOWED, "LDSBOARD_TOKEN"),
        (
            {identity.REQUEST_TOKEN: "wrong"},
            UNREACHABLE,
            "(status 404). Check that the job has the permission id-token",
        ),
        ({identity.ID_TOKENS[0]: "é"}, NOT_ALLOWED, "LDSBOARD_ID_TOKEN holds no identity token"),
        ({identity.ID_TOKENS[1]: "a.b"}, NOT_ALLOWED, "LDSBOARD_ID_TOKEN_2 holds no identity token"),
        ({identity.REQUEST_URL: "http://[::1"}, UNREACHABLE, "The CI provider gave no identity token"),
    ],
)
def test_job_without_identity_is_told_what_is_missing(
    shell: Shell, provider: CiProvider, scores: Path, variables: dict[str, str], code: int, words: str
) -> None:
    shell.environment.setenv("LDSBOARD_OWNER", "nobody")
    offered: dict[str, Any] = provider.environment if any(name in provider.environment for name in variables) else {}
    job(shell, offered | variables)
    refused = shell("submit", str(scores), "toy", "--method", "ours")
    assert refused.code == code
    assert words in refused.err
    assert len(refused.err.strip().splitlines()) <= 2


def test_untrusted_workflow_is_refused_with_both_values(shell: Shell, provider: CiProvider, scores: Path) -> None:
    job(shell, provider.environment)
    refused = shell("submit", str(scores), "toy", "--method", "trusted-by-nobody", "--owner", "nobody")
    assert refused.code == NOT_ALLOWED
    assert "[oidc." in refused.err


def test_stored_token_of_the_user_is_used_outside_ci(
    shell: Shell, oidc_service: Service, provider: CiProvider, scores: Path
) -> None:
    job(shell, provider.environment | {"CI": "false", "LDSBOARD_TOKEN": oidc_service.token("by-hand")})
    done = shell("submit", str(scores), "toy", "--method", "by-hand", "--practice", "--json")
    assert done.code == 0, done.err
    assert done.json["owner"] == "by-hand"
    assert not minted(oidc_service, "by-hand")


def test_identity_needs_the_name_of_an_owner(shell: Shell, provider: CiProvider, scores: Path) -> None:
    job(shell, provider.environment)
    refused = shell("submit", str(scores), "toy", "--method", "ours")
    assert refused.code == NOT_ALLOWED
    assert "Set LDSBOARD_OWNER to your user name on the server" in refused.err


def test_identity_is_not_requested_for_the_address_of_another_server(
    shell: Shell, oidc_service: Service, provider: CiProvider, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "LOCAL_HOSTS", ())
    elsewhere = oidc_service.url.replace("localhost", "127.0.0.1")  # not the public address that the server states
    job(shell, provider.environment | {"LDSBOARD_OWNER": "anybody", "LDSBOARD_SERVER": elsewhere})
    refused = shell("submit", str(scores), "toy", "--method", "ours")
    assert refused.code == UNREACHABLE
    assert "asks for an identity for another address" in refused.err
