"""The names of the claims in identity tokens, for each provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.issuers import ProviderName


@dataclass(frozen=True)
class ClaimNames:
    """The names of the claims in a provider's identity tokens. A name is None if the provider has no such claim.

    ``called_workflow`` is the claim for the reusable workflow of the job, and ``head`` the claim for the source branch of a pull
    request. ``run_path`` is the end of the address of a run; the value of the claim ``run`` replaces ``{run}`` in ``run_path``.
    ``run_repository`` is the claim for the repository in which the job runs. ``run_repository`` is None if the job always runs in
    the repository whose code runs. ``id_help`` says where a user finds the ids of a repository and of the repository's owner.
    """

    repository: str
    repository_id: str
    owner_id: str
    workflow: str
    called_workflow: str | None
    environment: str | None
    event: str
    ref: str
    head: str | None
    commit: str
    run: str
    run_path: str
    run_repository: str | None
    id_help: str


CLAIM_NAMES: dict[ProviderName, ClaimNames] = {
    # https://docs.github.com/en/actions/reference/security/oidc
    "github": ClaimNames(
        repository="repository",
        repository_id="repository_id",
        owner_id="repository_owner_id",
        workflow="workflow_ref",
        called_workflow="job_workflow_ref",
        environment="environment",
        event="event_name",
        ref="ref",
        head="head_ref",
        commit="sha",
        run="run_id",
        run_path="/actions/runs/{run}",
        run_repository=None,
        id_help="'id' and 'owner.id' of https://api.github.com/repos/OWNER/NAME",
    ),
    # https://docs.gitlab.com/ci/secrets/id_token_authentication
    "gitlab": ClaimNames(
        repository="project_path",
        repository_id="project_id",
        owner_id="namespace_id",
        workflow="ci_config_ref_uri",
        called_workflow=None,
        environment="environment",
        event="pipeline_source",
        ref="ref_path",
        head=None,
        commit="sha",
        run="pipeline_id",
        run_path="/-/pipelines/{run}",
        run_repository="job_project_path",
        id_help="'id' and 'namespace.id' of https://gitlab.com/api/v4/projects/GROUP%2FNAME",
    ),
    # https://forgejo.org/docs/latest/user/actions/security-openid-connect, and IDTokenCustomClaims in Forgejo's
    # services/actions/auth.go. The addresses of runs contain the number of the run in its repository, not its id.
    "forgejo": ClaimNames(
        repository="repository",
        repository_id="repository_id",
        owner_id="repository_owner_id",
        workflow="workflow_ref",
        called_workflow=None,
        environment=None,
        event="event_name",
        ref="ref",
        head="head_ref",
        commit="sha",
        run="run_number",
        run_path="/actions/runs/{run}",
        run_repository=None,
        id_help="'id' and 'owner.id' of https://codeberg.org/api/v1/repos/OWNER/NAME",
    ),
}
"""The names of the claims of each provider. Claims that are not named here are ignored, except the standard claims of a token."""
