"""Publishers: the CI workflows that users trust to submit a method, and which of them an identity of a CI run matches.

A publisher belongs to one user and one method. Several publishers can exist for a method, and several users can trust the same
workflow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from app.accounts.ci_identities import MAX_REPOSITORY, MAX_TEXT, MAX_WORKFLOW, CiIdentity, same_workflow
from app.accounts.claim_names import CLAIM_NAMES
from app.accounts.standing import check_standing
from app.db.accounts import Publisher, Token, User
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

    from app.issuers import Issuer

FORK_HINT = (
    "A fork has no identity of its own here: let it score the public part (ldsboard score FILE --benchmark NAME), "
    "or let a workflow of the trusted repository submit its file."
)

MAX_ID = 20
"""Maximum number of digits of an id."""

_FILE = re.compile(r"\.(?:github|forgejo|gitea)/workflows/[^/@]+\.ya?ml")
_CONFIG_FILE = re.compile(r"(?!/)[^@\s]+\.ya?ml")
_CALLED = re.compile(r"[^/@\s]+/[^/@\s]+/\.github/workflows/[^/@]+\.ya?ml")
_ID = re.compile(r"[0-9]+")
_REPOSITORY = re.compile(r"[^/\s]+/[^/\s]+")
_PROJECT = re.compile(r"[^/\s]+(?:/[^/\s]+)+")


def create(
    session: Session,
    issuers: Mapping[str, Issuer],
    user_id: int,
    *,
    method: str,
    issuer: str,
    repository: str,
    repository_id: str,
    owner_id: str,
    workflow: str,
    called_workflow: str | None = None,
    environment: str | None = None,
    branch: str | None = None,
) -> Publisher:
    """Register a CI workflow that may submit a method of a user, and return the new row. Spaces around values are dropped.

    `app.management.trust.add_publisher` also checks the quota and records the action.

    Parameters
    ----------
    issuers
        The issuers that the server knows, by address, from `Settings.issuers`.
    method
        Name of the method. The caller has checked that the name is valid once the spaces around it are dropped.
    issuer
        Address of the issuer.
    repository
        Name of the repository, such as ``owner/name``, for display.
    repository_id, owner_id
        Ids of the repository and of its owner (on GitLab, of the project and of its namespace), as digits.
    workflow
        Path of the workflow's file in the repository.
    called_workflow
        Repository and path of the reusable workflow that the workflow calls; None or empty if it calls none.
    environment, branch
        The environment and the branch of every accepted run; None or empty if any is accepted.

    Raises
    ------
    ProblemError
        ``request.invalid``: a value is not valid. ``request.conflict``: the user has an equal publisher already.
        Also the errors of `check_standing`.
    """
    check_standing(session.get_one(User, user_id))
    given = {
        "method": method,
        "issuer": issuer,
        "repository": repository,
        "repository_id": repository_id,
        "owner_id": owner_id,
        "workflow": workflow,
    }
    optional = {"called_workflow": called_workflow, "environment": environment, "branch": branch}
    values: dict[str, str | None] = {name: value.strip() for name, value in given.items()}
    values |= {name: (value or "").strip() or None for name, value in optional.items()}
    _check_values(issuers, values)
    equal = (getattr(Publisher, name) == value for name, value in values.items() if name != "repository")
    if session.scalar(select(Publisher.id).where(Publisher.user_id == user_id, *equal)) is not None:
        raise ProblemError(
            "request.conflict",
            "You already trust this workflow for this method.",
            "GET /api/v1/publishers lists the workflows that you trust; remove one to change it.",
        )
    publisher = Publisher(user_id=user_id, **values)
    session.add(publisher)
    session.flush()
    return publisher


def list_publishers(session: Session, user_id: int) -> Sequence[Publisher]:
    """Return the publishers of a user, oldest first."""
    return session.scalars(select(Publisher).where(Publisher.user_id == user_id).order_by(Publisher.id)).all()


def find(session: Session, user_id: int, publisher_id: int) -> Publisher:
    """Return a publisher of a user.

    Raises
    ------
    ProblemError
        ``publisher.unknown``: the user has no such publisher.
    """
    publisher = session.scalar(select(Publisher).where(Publisher.user_id == user_id, Publisher.id == publisher_id))
    if publisher is None:
        raise ProblemError(
            "publisher.unknown",
            f"You have no trusted workflow {publisher_id}.",
            "GET /api/v1/publishers lists the workflows that you trust.",
        )
    return publisher


def remove(session: Session, user_id: int, publisher_id: int) -> Publisher:
    """Delete a publisher of a user and the tokens that its runs hold, and return the deleted row; raise the errors of `find`.

    This function does not cancel uploads that the runs began; `app.management.trust.remove_publisher` does.
    """
    publisher = find(session, user_id, publisher_id)
    issued = select(Token).where(Token.user_id == user_id, Token.claims.is_not(None))
    held = [token.id for token in session.scalars(issued) if (token.claims or {}).get("publisher") == publisher_id]
    session.execute(delete(Token).where(Token.id.in_(held)))
    session.delete(publisher)
    session.flush()
    return publisher


def find_publisher(session: Session, identity: CiIdentity, method: str, owner: str) -> Publisher:
    """Return the publisher of a user that the identity of a CI run matches; the oldest one if several match.

    If the user does not trust the repository for the method, the error names no publisher of the user.

    Parameters
    ----------
    method
        The method that the run wants to submit.
    owner
        Name of the user for whom the run wants to submit. Publishers of other users are not looked at.

    Raises
    ------
    ProblemError
        ``oidc.publisher``: no publisher matches; the error names the claim that differs.
    """
    query = select(Publisher).join(User).order_by(Publisher.id)
    query = query.where(
        Publisher.issuer == identity.issuer.address,
        Publisher.repository_id == identity.repository_id,
        Publisher.method == method,
        User.name == owner,
        User.deleted_at.is_(None),
    )
    candidates = session.scalars(query).all()
    if not candidates:
        raise _unknown_repository(identity, method, owner)
    differences = [(publisher, _differences(publisher, identity)) for publisher in candidates]
    matching = [publisher for publisher, found in differences if not found]
    if not matching:
        # The publisher that agrees in the most claims is most likely the one that was meant.
        raise min((found for _, found in differences), key=len)[0]
    return matching[0]


def _unknown_repository(identity: CiIdentity, method: str, owner: str) -> ProblemError:
    names = identity.names
    return ProblemError.mismatch(
        "oidc.publisher",
        expected=f"the claim {names.repository_id}: a repository that the user {owner[:64]!r} trusts for the method {method}",
        got=f"{identity.repository_id}, the id of {identity.repository}",
        hint=f"Check the method and the owner, or register the workflow on the page /account, with repository id "
        f"{identity.repository_id} and owner id {identity.owner_id}. {FORK_HINT}",
    )


def _differences(publisher: Publisher, identity: CiIdentity) -> list[ProblemError]:
    """Return one error for each requirement of a publisher that a run does not meet; an empty list if the run matches.

    The caller has compared issuer, repository id and method.
    """
    names = identity.names
    found = []
    if publisher.owner_id != identity.owner_id:
        got = f"{identity.repository} with {names.owner_id} {identity.owner_id}"
        hint = "The repository has another owner now. Register the workflow again on the page /account if you trust the owner."
        found.append(_mismatch(names.owner_id, publisher.owner_id, got, hint))
    if not _workflows_match(publisher, identity):
        found.append(_workflow_mismatch(publisher, identity))
    if not _environments_match(publisher, identity):
        got = identity.environment or "no environment"
        hint = (
            f"Add 'environment: {publisher.environment}' to the job, or register the workflow without an environment."
        )
        found.append(_mismatch(names.environment or "environment", publisher.environment or "", got, hint))
    if publisher.branch is not None and publisher.branch != identity.ref_branch:
        got = identity.ref_branch or (
            "a pull request" if identity.is_pull_request else f"no branch, on the event {identity.event}"
        )
        hint = (
            f"Run the workflow on the branch {publisher.branch} by an event such as push or schedule, or register the workflow "
            "without a branch."
        )
        found.append(_mismatch(names.ref, f"the branch {publisher.branch}", got, hint))
    return found


def _environments_match(publisher: Publisher, identity: CiIdentity) -> bool:
    required, found = publisher.environment, identity.environment
    if required is None or required == found:
        return True
    # GitHub's names of environments ignore case. On GitLab, names that differ in case are two environments.
    return identity.issuer.provider == "github" and found is not None and required.lower() == found.lower()


def _workflows_match(publisher: Publisher, identity: CiIdentity) -> bool:
    if publisher.workflow != identity.workflow:
        return False
    if publisher.called_workflow is None or identity.called_workflow is None:
        return publisher.called_workflow is None and identity.called_workflow is None
    return same_workflow(publisher.called_workflow, identity.called_workflow)


def _workflow_mismatch(publisher: Publisher, identity: CiIdentity) -> ProblemError:
    """Return the error for a run whose workflow is not the workflow of the publisher.

    If the provider has a claim for the reusable workflow of a job, the error shows the reusable workflows too.
    """
    names = identity.names
    claims, expected = names.workflow, publisher.workflow
    got = identity.workflow or "no workflow"
    if names.called_workflow is not None:
        claims = f"{names.workflow} and {names.called_workflow}"
        expected += f" and {publisher.called_workflow or 'no reusable workflow'}"
        got += f" and {identity.called_workflow or 'no reusable workflow'}"
    hint = "Register the workflow that runs, on the page /account; the part after '@' is not compared."
    return _mismatch(claims, expected, got, hint)


def _mismatch(claim: str, expected: str, got: str, hint: str) -> ProblemError:
    return ProblemError.mismatch("oidc.publisher", expected=f"the claim {claim}: {expected}", got=got, hint=hint)


def _check_values(issuers: Mapping[str, Issuer], values: Mapping[str, str | None]) -> None:
    """Raise ``request.invalid`` unless the values of a new publisher are valid."""
    issuer = issuers.get(values["issuer"] or "")
    if issuer is None:
        raise _invalid("issuer", f"one of {', '.join(issuers)}", values["issuer"])
    names, provider = CLAIM_NAMES[issuer.provider], issuer.provider
    is_gitlab = provider == "gitlab"
    example = ".gitlab-ci.yml" if is_gitlab else f".{provider}/workflows/NAME.yml"
    optional = {"called_workflow": names.called_workflow, "environment": names.environment}
    for field, claim in optional.items():
        if claim is None and values[field] is not None:
            raise _invalid(field, f"nothing, because {provider} has no such claim", values[field])
    forms = {
        "repository": (_PROJECT if is_gitlab else _REPOSITORY, "OWNER/NAME without spaces", MAX_REPOSITORY),
        "repository_id": (_ID, f"digits: {names.id_help}", MAX_ID),
        "owner_id": (_ID, f"digits: {names.id_help}", MAX_ID),
        "workflow": (_CONFIG_FILE if is_gitlab else _FILE, f"the path of the file, such as {example}", MAX_TEXT),
        "called_workflow": (_CALLED, "OWNER/NAME/.github/workflows/NAME.yml, without '@' and a ref", MAX_WORKFLOW),
        "environment": (re.compile(".+"), "one line of text", MAX_TEXT),
        "branch": (re.compile(r"(?!refs/)[^\s~^:?*\[\\]+"), "the name of a branch, such as main", MAX_TEXT),
    }
    for field, (form, expected, length) in forms.items():
        value = values[field]
        if value is not None and not (len(value) <= length and value.isprintable() and form.fullmatch(value)):
            raise _invalid(field, f"{expected}, at most {length} characters", value)


def _invalid(field: str, expected: str, got: str | None) -> ProblemError:
    return ProblemError.mismatch(
        "request.invalid",
        expected=f"{field}: {expected}",
        got=repr((got or "")[:80]),
        hint="Nothing was registered. Correct the value and try again.",
    )
