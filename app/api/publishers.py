"""API calls for publishers: the CI workflows that a user trusts to submit a method."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.accounts import publishers
from app.accounts.ci_identities import MAX_REPOSITORY, MAX_TEXT, MAX_WORKFLOW
from app.db.accounts import Publisher
from app.issuers import MAX_ADDRESS_LENGTH, Issuer, ProviderName
from app.management import trust
from app.submissions.field_types import Method
from app.web.dependencies import (
    ActorDep,
    ContextDep,
    ManagingUser,
    PublisherId,
    ReadSession,
    WholeAccountUser,
    WriteSession,
)

router = APIRouter(prefix="/publishers", tags=["account"])


class NewPublisher(BaseModel, extra="forbid"):
    """A CI workflow to trust. The ids decide which repository is trusted, because its name can later belong to another owner."""

    method: Method = Field(description="method that the workflow may submit")
    issuer: str = Field(
        default="https://token.actions.githubusercontent.com",
        min_length=1,
        max_length=MAX_ADDRESS_LENGTH,
        description="issuer of the identity tokens; by default GitHub's",
    )
    repository: str = Field(min_length=1, max_length=MAX_REPOSITORY, description="OWNER/NAME, for display")
    repository_id: str = Field(
        min_length=1,
        max_length=publishers.MAX_ID,
        description="id of the repository (on GitLab, of the project), as digits",
    )
    owner_id: str = Field(
        min_length=1,
        max_length=publishers.MAX_ID,
        description="id of the owner of the repository (on GitLab, of the namespace of the project), as digits",
    )
    workflow: str = Field(
        min_length=1,
        max_length=MAX_TEXT,
        description="path of the workflow's file in the repository, such as .github/workflows/lds.yml",
    )
    called_workflow: str | None = Field(
        default=None,
        max_length=MAX_WORKFLOW,
        description="reusable workflow that the workflow calls, as OWNER/NAME/.github/workflows/FILE.yml; null if it calls none",
    )
    environment: str | None = Field(
        default=None,
        max_length=MAX_TEXT,
        description="environment of every accepted job; case counts, except on GitHub; null: any, or none",
    )
    branch: str | None = Field(
        default=None,
        max_length=MAX_TEXT,
        description="branch of every accepted run, which no pull request meets; null: any branch, pull requests and tags",
    )


class PublisherView(BaseModel):
    """A CI workflow that a user trusts."""

    id: int
    method: str
    provider: ProviderName | None = Field(description="null if the server does not trust the issuer any more")
    issuer: str
    repository: str
    repository_id: str
    owner_id: str
    workflow: str
    called_workflow: str | None
    environment: str | None
    branch: str | None
    created_at: datetime
    used_at: datetime | None = Field(description="when a run last got a token; null if no run has")
    offered_environment: str | None = Field(
        description="environment of the last run, if the publisher accepts any; requiring it would be safer"
    )

    @classmethod
    def of(cls, publisher: Publisher, issuers: Mapping[str, Issuer]) -> Self:
        """Return the view of a publisher; `issuers` holds the issuers that the server trusts, by address."""
        issuer = issuers.get(publisher.issuer)
        values = {name: getattr(publisher, name) for name in cls.model_fields if name != "provider"}
        return cls(**values, provider=issuer.provider if issuer else None)


@router.get("")
def list_publishers(caller: WholeAccountUser, context: ContextDep, session: ReadSession) -> list[PublisherView]:
    """List the CI workflows that you trust, the oldest first."""
    return [PublisherView.of(each, context.issuers) for each in publishers.list_publishers(session, caller.id)]


@router.post("", status_code=201)
def add_publisher(
    caller: ManagingUser, actor: ActorDep, context: ContextDep, session: WriteSession, wanted: NewPublisher
) -> PublisherView:
    """Trust a CI workflow: its runs can exchange their identity for a token that submits one method for you.

    You can register each workflow once for a method, so a repeated call cannot create a second publisher.
    """
    values = wanted.model_dump()
    publisher = trust.add_publisher(session, caller.id, actor, context.quotas, context.issuers, **values)
    return PublisherView.of(publisher, context.issuers)


@router.delete("/{publisher_id}", status_code=204)
def remove_publisher(caller: ManagingUser, actor: ActorDep, session: WriteSession, publisher_id: PublisherId) -> None:
    """Stop trusting a CI workflow. The tokens of its runs become invalid at once; the submissions of its runs stay.

    All your unfinished uploads of the same method that CI runs began are cancelled, even the uploads that runs of another
    workflow began.
    """
    trust.remove_publisher(session, caller.id, actor, publisher_id)
