"""Identities of CI runs: what the claims of a verified identity token say about a run, for each provider.

The ids of the repository and of its owner decide which repository a run belongs to. The claim ``sub`` is never read: GitHub has
two forms of it, and a repository can configure others.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from app.accounts.claim_names import CLAIM_NAMES, ClaimNames
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from app.issuers import Issuer


REFUSED_EVENTS = ("pull_request_target", "workflow_run")
"""Events whose workflow runs with the rights of the repository, although a fork can decide what the workflow reads."""

BRANCH_EVENTS = frozenset({"create", "push", "release", "repository_dispatch", "schedule", "workflow_dispatch"})
"""Events on GitHub and Forgejo whose runs belong to the branch or tag that their ref names.

A run of another event can work on a pull request, although its ref is a branch. ``issue_comment``, ``check_run`` and ``status``,
for example, have the ref and the commit of the default branch, and ``merge_group`` has those of a temporary merge.
Source: https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows
"""

_REQUEST_EVENT = re.compile(r"pull_request(?:_.*)?")
"""Events of runs for a pull request on GitHub and Forgejo, whatever their ref is."""

GITLAB_BRANCH_EVENTS = frozenset(
    {"api", "chat", "external", "pipeline", "push", "schedule", "trigger", "web", "webide"}
)
"""Sources of GitLab pipelines that run on a branch or tag of the project itself.

A pipeline of another source can belong to a merge request. Its ref is then the source branch, which can be named like the default
branch, and its commit can be a temporary merge. ``parent_pipeline`` is such a source: child pipelines of merge requests have it.
"""

BRANCH_PREFIX, REQUEST_PREFIX = "refs/heads/", "refs/pull/"
_PULL_REQUEST = re.compile(r"refs/pull/([1-9][0-9]{0,8})/(?:head|merge)")
_TEMPORARY_MERGE = re.compile(r"refs/pull/[0-9]+/merge")
_ID = re.compile(r"[0-9]{1,20}")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")

MAX_REPOSITORY, MAX_TEXT, MAX_WORKFLOW, MAX_ADDRESS = 200, 255, 500, 500
"""Maximum numbers of characters of a repository, of a branch or environment, of a workflow and of the address of a run."""


@dataclass(frozen=True)
class CiIdentity:
    """A CI run, as the claims of a verified identity token describe the run.

    Attributes
    ----------
    workflow
        Path of the workflow's file in the repository. If the file is not in the repository: the value of the claim that names
        the file, without the branch, tag or commit after the ``@``.
    called_workflow
        Repository and path of the reusable workflow to which the job belongs; None if the job belongs to ``workflow``.
    ref_branch
        The branch to which the run belongs. None if the run belongs to a tag or to a pull request, or if the event of the run can
        belong to a pull request or merge request.
    branch
        The branch of the code that runs. For a pull request whose number is known: the source branch of the pull request. For
        any other run: ``ref_branch``. A source branch can have the same name as the default branch of the repository, so a source
        branch is given only together with ``number``.
    number
        The number of the pull request; None for any other run, and if the ref of the run does not show the number.
    is_pull_request
        Whether the run belongs to a pull request, or can belong to a merge request of GitLab.
    commit
        The commit of the code that runs. None if the token names no commit, names a commit that can be the temporary merge of a
        pull request or merge request, or can name the default branch's commit although the run works on a pull request.
    url
        Address of the page of the run.
    """

    issuer: Issuer
    repository: str
    repository_id: str
    owner_id: str
    workflow: str | None
    called_workflow: str | None
    environment: str | None
    event: str | None
    ref_branch: str | None
    branch: str | None
    number: int | None
    commit: str | None
    url: str | None
    is_pull_request: bool

    @property
    def names(self) -> ClaimNames:
        """The names of the provider's claims."""
        return CLAIM_NAMES[self.issuer.provider]

    @property
    def provenance(self) -> dict[str, Any]:
        """The provenance of files that the run makes: a dictionary from column names to the values that are known."""
        values = asdict(self)
        known = {name: values[name] for name in ("repository", "commit", "branch", "number", "url")}
        return {name: value for name, value in known.items() if value is not None} | {"provider": self.issuer.provider}

    def as_dict(self) -> dict[str, Any]:
        """Return what is stored with a token of the run: the run's identity, and the provenance of files that the run makes."""
        return {
            "issuer": self.issuer.address,
            "repository_id": self.repository_id,
            "owner_id": self.owner_id,
            "workflow": self.workflow,
            "called_workflow": self.called_workflow,
            "environment": self.environment,
            "event": self.event,
            "provenance": self.provenance,
        }


def read_identity(issuer: Issuer, claims: dict[str, Any]) -> CiIdentity:
    """Return the identity that the claims of a verified token describe.

    Raises
    ------
    ProblemError
        ``oidc.claim``: a claim that is needed is missing or malformed.
        ``oidc.event``: the event of the run is one of `REFUSED_EVENTS`, and the provider is not GitLab.
    """
    names = CLAIM_NAMES[issuer.provider]
    event, ref = _text(claims, names.event), _text(claims, names.ref) or ""
    if issuer.provider != "gitlab":
        _check_event(names.event, event)
    repository = _required(issuer, _text(claims, names.repository, MAX_REPOSITORY), names.repository)
    workflow = without_ref(_text(claims, names.workflow, MAX_WORKFLOW))
    called = _called_workflow(names, claims)
    head = _text(claims, names.head) if names.head else None
    pull_request = _PULL_REQUEST.fullmatch(ref)
    if issuer.provider == "gitlab":
        is_request = event not in GITLAB_BRANCH_EVENTS
        names_branch = names_commit = not is_request
    else:
        is_request = (
            ref.startswith(REQUEST_PREFIX) or head is not None or _REQUEST_EVENT.fullmatch(event or "") is not None
        )
        names_branch = event in BRANCH_EVENTS and not is_request
        names_commit = names_branch or (is_request and _TEMPORARY_MERGE.fullmatch(ref) is None)
    ref_branch = ref.removeprefix(BRANCH_PREFIX) if ref.startswith(BRANCH_PREFIX) and names_branch else None
    commit = _text(claims, names.commit)
    return CiIdentity(
        issuer=issuer,
        repository=repository,
        repository_id=_required(issuer, _id(claims, names.repository_id), names.repository_id),
        owner_id=_required(issuer, _id(claims, names.owner_id), names.owner_id),
        workflow=_path_in_repository(issuer, repository, workflow),
        called_workflow=None if called is None or same_workflow(called, workflow) else called,
        environment=_text(claims, names.environment) if names.environment else None,
        event=event,
        ref_branch=ref_branch,
        branch=head if pull_request else ref_branch,
        number=int(pull_request[1]) if pull_request else None,
        commit=commit if commit and _COMMIT.fullmatch(commit) and names_commit else None,
        url=_run_address(issuer, repository, claims),
        is_pull_request=is_request,
    )


def _called_workflow(names: ClaimNames, claims: dict[str, Any]) -> str | None:
    """Return the workflow file to which the job belongs, without its ref; None if the provider has no claim for this file.

    Raises
    ------
    ProblemError
        ``oidc.claim``: the provider has a claim for this file, but the token has no valid one.
    """
    if names.called_workflow is None:
        return None
    called = _text(claims, names.called_workflow, MAX_WORKFLOW)
    if called is None:  # a reusable workflow that nobody trusts may be behind it
        raise _missing_claim(names.called_workflow, "the workflow file to which the job belongs")
    return without_ref(called)


def without_ref(workflow: str | None) -> str | None:
    """Return a reference to a workflow file without the branch, tag or commit after its ``@``; None if `workflow` is None."""
    if workflow is None:
        return None
    # The name of a file can contain "@", but not "/": the first "@refs/" ends the path.
    path, separator, _ = workflow.partition("@refs/")
    return path if separator else re.sub(r"@[0-9a-f]{40,64}$", "", workflow)


def same_workflow(first: str, second: str | None) -> bool:
    """Return whether two references name the same workflow file; False if `second` is None.

    The references must not contain a branch, tag or commit after an ``@``; see `without_ref`. Upper and lower case are not
    distinguished in the names of owners and repositories.
    """
    return second is not None and _normal(first) == _normal(second)


def _normal(workflow: str) -> str:
    owner, _, rest = workflow.partition("/")
    repository, separator, path = rest.partition("/")
    return f"{owner.lower()}/{repository.lower()}{separator}{path}"


def _path_in_repository(issuer: Issuer, repository: str, workflow: str | None) -> str | None:
    """Return the path of a workflow's file in its repository, or `workflow` itself if the file is not in the repository."""
    if workflow is None:
        return None
    # GitLab writes HOST/PROJECT//FILE, the others OWNER/REPOSITORY/FILE.
    site = issuer.site.partition("://")[2]
    prefix = f"{site}/{repository}//" if issuer.provider == "gitlab" else f"{repository}/"
    return workflow[len(prefix) :] if workflow[: len(prefix)].lower() == prefix.lower() else workflow


def _run_address(issuer: Issuer, repository: str, claims: dict[str, Any]) -> str | None:
    """Return the address of the page of a run; None if the claims do not name the run or the address is not valid."""
    names = CLAIM_NAMES[issuer.provider]
    run = _id(claims, names.run)
    if run is None:
        return None
    place = (_text(claims, names.run_repository, MAX_REPOSITORY) if names.run_repository else None) or repository
    address = f"{issuer.site}/{place}{names.run_path.format(run=run)}"
    return address if len(address) <= MAX_ADDRESS and not re.search(r"\s", address) else None


def _check_event(name: str, event: str | None) -> None:
    """Check that a token names the event that started the run, and that the event is accepted.

    Raises
    ------
    ProblemError
        ``oidc.claim``: the token names no event.
        ``oidc.event``: the event is one of `REFUSED_EVENTS`.
    """
    if event is None:
        raise _missing_claim(name, "the name of the event that started the run")
    if event in REFUSED_EVENTS:
        raise ProblemError.mismatch(
            "oidc.event",
            expected=f"the claim {name} with an event other than {' and '.join(REFUSED_EVENTS)}",
            got=event,
            hint="A run that this event starts has the rights of the repository while it works on the code of a fork. Start the "
            "workflow by push, pull_request, schedule or workflow_dispatch instead.",
        )


def _text(claims: dict[str, Any], name: str, length: int = MAX_TEXT) -> str | None:
    """Return a claim that is a printable text of 1 to `length` characters; None if the claim is something else."""
    value = claims.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= length and value.isprintable() else None


def _id(claims: dict[str, Any], name: str) -> str | None:
    """Return a claim that is an id, as digits; None if the claim is something else."""
    value = claims.get(name)
    if isinstance(value, str | int) and not isinstance(value, bool) and _ID.fullmatch(str(value)):
        return str(value)
    return None


def _required(issuer: Issuer, value: str | None, name: str) -> str:
    if value is None:
        raise ProblemError(
            "oidc.claim",
            f"The identity token of {issuer.address} has no valid claim {name}.",
            "This server identifies repositories by their ids. Ask the operator of the issuer to update its software; until "
            "then, use a token that you create on the page /account.",
        )
    return value


def _missing_claim(name: str, what: str) -> ProblemError:
    return ProblemError(
        "oidc.claim",
        f"The identity token has no valid claim {name}, {what}.",
        "Request the identity token from your CI provider, and send it unchanged.",
    )
