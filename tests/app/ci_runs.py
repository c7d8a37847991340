"""CI runs of a trusted workflow on github.com: their tokens, made as the server makes them once a signature is verified."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from app.accounts import minting, publishers, users
from app.accounts.identity_tokens import VerifiedToken
from app.accounts.quotas import Quotas
from app.db.base import now
from app.issuers import PUBLIC_ISSUERS, parse_issuers

if TYPE_CHECKING:
    from tests.app.service import Service

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RUN = "4242"
GITHUB = PUBLIC_ISSUERS[0][1]


def trust_workflow(service: Service, owner: str, method: str, **changes: str) -> int:
    """Let a user trust a workflow of octo-org/octo-repo for a method, and return the id of the publisher."""
    fields = {
        "method": method,
        "issuer": GITHUB,
        "repository": "octo-org/octo-repo",
        "repository_id": "74",
        "owner_id": "65",
        "workflow": ".github/workflows/lds.yml",
    }
    with service.database.write() as session:
        user = users.find_user(session, owner)
        return publishers.create(session, parse_issuers(""), user.id, **fields | changes).id


def run_token(service: Service, owner: str, method: str, **claims: str) -> str:
    """Return the token of a run of the trusted workflow, by default of a push to the branch main, with changed claims."""
    repository = claims.get("repository", "octo-org/octo-repo")
    workflow = f"{repository}/.github/workflows/lds.yml@refs/heads/main"
    usual = {
        "event_name": "push",
        "job_workflow_ref": workflow,
        "ref": "refs/heads/main",
        "repository": repository,
        "repository_id": "74",
        "repository_owner_id": "65",
        "run_id": RUN,
        "sha": COMMIT,
        "workflow_ref": workflow,
    }
    digest, end = secrets.token_hex(32), now() + timedelta(minutes=5)
    verified = VerifiedToken(parse_issuers("")[GITHUB], usual | claims, digest, end)
    with service.database.write() as session:
        return minting.mint(session, verified, method, owner, Quotas(5, 30), "192.0.2.1")[1]
