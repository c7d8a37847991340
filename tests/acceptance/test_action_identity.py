"""The steps of action.yml without a token: an OpenID provider signs the identity of the run, and the server exchanges it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization

from ldsboard.commands import exits
from tests.acceptance import ci_events
from tests.acceptance.action_runner import ActionRunner
from tests.acceptance.ci_job import Job
from tests.app.oidc.provider import COMMIT, CiProvider
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.acceptance.action_runner import Run
    from tests.app.benchmarks import Example

pytestmark = [pytest.mark.slow, pytest.mark.server]  # installs ldsboard; tests/app/oidc tests the server's part faster

CALLED = "octo-org/ci/.github/workflows/score.yml"
OTHER = "octo-org/octo-repo/.github/workflows/other.yml@refs/heads/main"


class Trust:
    """A server that trusts a provider, and a user of the server."""

    def __init__(self, service: Service, provider: CiProvider) -> None:
        self.service, self.provider = service, provider
        self.token = service.token("owner", ranked_per_day=1000, ranked_per_version=1000)

    def register(self, method: str, **changes: str) -> None:
        """Trust the workflow of the provider's claims for a method."""
        fields = {
            "method": method,
            "issuer": self.provider.github,
            "repository": "octo-org/octo-repo",
            "repository_id": "74",
            "owner_id": "65",
            "workflow": ".github/workflows/lds.yml",
        }
        headers = {"Authorization": f"Bearer {self.token}"}
        created = self.service.client.post("/publishers", json=fields | changes, headers=headers)
        assert created.status_code == 201, created.text


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Trust]:
    with (
        CiProvider() as provider,
        Service(tmp_path_factory.mktemp("trust"), **provider.settings, publishers_per_user=0) as service,
    ):
        service.publish(toy.folder)
        yield Trust(service, provider)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> ActionRunner:
    return ActionRunner(tmp_path_factory.mktemp("runner"))


@pytest.fixture
def job(runner: ActionRunner, trust: Trust, tmp_path: Path, toy: Example) -> Job:
    trust.provider.reset()
    return Job(runner, trust.service, "", tmp_path, toy)


def run(job: Job, trust: Trust, event: dict[str, str] | None = None, **inputs: str) -> Run:
    return job.run((event or ci_events.push(job.folder)) | trust.provider.environment, **inputs)


def refused(job: Job, trust: Trust, *words: str) -> None:
    """Check that a run is refused before anything is sent, and that the annotation says why."""
    before = job.submissions()
    found = run(job, trust)
    assert (found.code, found.outputs["status"]) == (exits.NOT_ALLOWED, "not-allowed"), found.log
    assert job.submissions() == before
    ((level, _, message),) = found.annotations
    assert level == "error"
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "repo:octo-org/octo-repo:ref:refs/heads/main"},
        {"sub": "repo:octo-org@65/octo-repo@74:ref:refs/heads/main"},
        {f"claim_{number}": f"value {number}" for number in range(30)},
    ],
)
def test_push_of_a_trusted_workflow_has_verified_provenance(job: Job, trust: Trust, changes: dict[str, str]) -> None:
    trust.register(job.method)
    trust.provider.claims |= changes
    found = run(job, trust, kind="ranked")
    assert found.code == 0, found.log
    assert job.provenance(found) == {
        "provider": "github",
        "repository": "octo-org/octo-repo",
        "commit": COMMIT,
        "branch": "main",
        "url": f"{trust.provider.address}/octo-org/octo-repo/actions/runs/4242",
        "verified": True,
    }
    job.write(noise=3)
    later = run(job, trust, kind="ranked")
    assert float(later.outputs["delta"]) < 0  # the minted token also reads the history of the method
    assert "ldsb_" not in found.log + later.log


def test_manual_run_of_a_reusable_workflow_is_refused_unless_it_is_named(job: Job, trust: Trust) -> None:
    trust.register(job.method)
    changes = {"job_workflow_ref": f"{CALLED}@refs/tags/v1", "event_name": "workflow_dispatch"}
    trust.provider.claims |= changes
    refused(job, trust, "job_workflow_ref", CALLED)
    trust.register(job.method, called_workflow=CALLED)
    found = run(job, trust, ci_events.manual(job.folder))
    assert found.code == 0, found.log


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"repository_id": "75"}, ["repository_id", "75"]),
        ({"repository_owner_id": "66"}, ["repository_owner_id", "66"]),
        ({"workflow_ref": OTHER}, ["workflow_ref", "other.yml"]),
        ({"environment": "staging"}, ["environment", "staging"]),
        ({"ref": "refs/heads/faster"}, ["ref", "faster"]),
        ({"event_name": "pull_request_target"}, ["event_name", "pull_request_target"]),
        ({"event_name": "workflow_run"}, ["event_name", "workflow_run"]),
        ({"iss": "https://issuer.example"}, ["https://issuer.example"]),
        ({"exp": 1_700_000_000, "iat": 1_699_999_900, "nbf": 1_699_999_900}, ["expired"]),
    ],
    ids=lambda value: next(iter(value)),
)
def test_each_wrong_claim_is_refused_by_name(job: Job, trust: Trust, changes: dict[str, Any], words: list[str]) -> None:
    trust.register(job.method, environment="production", branch="main")
    trust.provider.claims |= {"environment": "production"} | changes
    refused(job, trust, *words)


def without_signature(_provider: CiProvider, claims: dict[str, Any]) -> str:
    return f"{encoded({'alg': 'none', 'kid': 'rsa'})}.{encoded(claims)}."


def with_public_key(provider: CiProvider, claims: dict[str, Any]) -> str:
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    signed = f"{encoded({'alg': 'HS256', 'kid': 'rsa'})}.{encoded(claims)}"
    digest = hmac.digest(provider.rsa.public_key().public_bytes(*form), signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def for_another_server(provider: CiProvider, claims: dict[str, Any]) -> str:
    return provider.sign(claims | {"aud": "https://other.example"})


def for_two_servers(provider: CiProvider, claims: dict[str, Any]) -> str:
    return provider.sign(claims | {"aud": [claims["aud"], "https://other.example"]})


def of_the_future(provider: CiProvider, claims: dict[str, Any]) -> str:
    moment = int(time.time()) + 120
    return provider.sign(claims | {"iat": moment, "nbf": moment, "exp": moment + 300})


def encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("sign", "word"),
    [
        (without_signature, "RS256"),
        (with_public_key, "RS256"),
        (for_another_server, "https://other.example"),
        (for_two_servers, "https://other.example"),
        (of_the_future, "oidc."),
    ],
)
def test_identity_that_the_provider_did_not_sign_for_this_server_is_refused(
    job: Job, trust: Trust, sign: Callable[[CiProvider, dict[str, Any]], str], word: str
) -> None:
    trust.register(job.method)
    trust.provider.signer = lambda claims: sign(trust.provider, claims)
    refused(job, trust, word)


def test_replayed_identity_is_refused(job: Job, trust: Trust) -> None:
    trust.register(job.method)
    tokens: list[str] = []

    def replay(claims: dict[str, Any]) -> str:
        tokens.append(trust.provider.sign(claims))
        return tokens[0]

    trust.provider.signer = replay
    assert run(job, trust).code == 0
    job.write(noise=1)
    refused(job, trust, "oidc.used")


def test_pull_request_of_the_repository_submits_with_its_identity_and_one_of_a_fork_does_not(
    job: Job, trust: Trust
) -> None:
    trust.register(job.method)
    trust.provider.claims |= {"event_name": "pull_request", "ref": "refs/pull/7/merge", "head_ref": "faster"}
    found = run(job, trust, ci_events.pull_request(job.folder))
    assert found.code == 0, found.log
    assert (job.provenance(found)["number"], job.provenance(found)["verified"]) == (7, True)
    fork = job.run(ci_events.pull_request(job.folder, ci_events.FORK))
    assert fork.outputs["status"] == "public-only"
