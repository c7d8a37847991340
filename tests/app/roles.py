"""A benchmark with submissions of every visibility in every state, and a token for every role that may read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from app.accounts import tokens, users
from app.db.accounts import Role, User
from app.db.models import Kind, State, Submission, Version, Visibility
from tests.app.benchmarks import write_benchmark
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

ERROR = {"code": "scores.nonfinite", "detail": "The scores contain a NaN.", "hint": "Remove the NaN."}


class Roles(NamedTuple):
    """Submissions of every visibility and state, each visibility with its own owner, and one token per role.

    ``ids`` are submission ids, ``owners`` are tokens, ``rival_id`` is a public submission of another user.
    """

    service: Service
    ids: dict[tuple[Visibility, State], str]
    owners: dict[Visibility, str]
    tokens: dict[str, str]
    rival_id: str

    def as_owner_of(self, visibility: Visibility) -> Roles:
        """Return a copy whose role "owner" is the owner of the submissions with this visibility."""
        return self._replace(tokens=self.tokens | {"owner": self.owners[visibility]})

    def get(self, path: str, role: str, **query: str) -> httpx.Response:
        """Get a path of the API or of the pages with the token of a role."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role in self.tokens else {}
        return self.service.client.get(f"{self.service.url}{path}", params=query, headers=headers)


def commit_of(visibility: Visibility) -> str:
    return visibility.encode().hex().ljust(40, "0")


def identifying_fields(visibility: Visibility) -> dict[str, Any]:
    """Return the fields of a submission that identify its owner."""
    return {
        "method": f"method-of-{visibility}",
        "title": f"Title of {visibility}",
        "description": f"Description of {visibility}",
        "tags": [f"tag-of-{visibility}"],
        "paper": f"https://example.org/paper-of-{visibility}",
        "code": f"https://example.org/code-of-{visibility}",
    }


def identifying_texts(visibility: Visibility) -> list[str]:
    """Return the texts that a response must not contain for a role that may not know the owner."""
    fields = identifying_fields(visibility)
    return [
        f"owner-{visibility}",
        fields["method"],
        fields["title"],
        fields["description"],
        *fields["tags"],
        fields["paper"],
        fields["code"],
    ]


def provenance_texts(visibility: Visibility) -> list[str]:
    """Return repository, commit and branch of the scored submission of this visibility."""
    return [f"repository-of-{visibility}", commit_of(visibility), f"branch-of-{visibility}"]


def create_roles(service: Service, folder: Path) -> Roles:
    """Publish the benchmark "seen", send one scored submission per visibility, insert the other states, and create all tokens."""
    example = write_benchmark(folder, "seen")
    service.publish(example.folder)
    ids: dict[tuple[Visibility, State], str] = {}
    owners = {visibility: service.token(f"owner-{visibility}") for visibility in Visibility}
    for visibility, token in owners.items():
        fields = identifying_fields(visibility)
        origin = dict(zip(("repository", "commit", "branch"), provenance_texts(visibility), strict=True))
        content = npy(example.scores(0.5))
        sent = service.submit_and_score(token, "seen", content, method=fields["method"], **origin)
        ids[visibility, State.SCORED] = sent["id"]
        edited = service.client.patch(
            f"/submissions/{sent['id']}",
            headers={"Authorization": f"Bearer {token}"},
            json={name: fields[name] for name in fields.keys() - {"method"}} | {"visibility": visibility},
        )
        assert edited.status_code == 200, edited.text
        urls = {name: fields.pop(name) for name in ("paper", "code")}
        with service.database.write() as session:
            user = session.scalars(select(User).where(User.name == f"owner-{visibility}")).one()
            version = session.scalars(
                select(Version).where(Version.id == session.get_one(Submission, sent["id"]).version_id)
            ).one()
            for state in State:
                if state is not State.SCORED:
                    row = Submission(
                        user=user,
                        version=version,
                        kind=Kind.PRACTICE,
                        size=1,
                        state=state,
                        visibility=visibility,
                        urls=urls,
                        **fields,
                    )
                    row.error = ERROR if state in (State.REJECTED, State.FAILED) else None
                    session.add(row)
                    session.flush()
                    ids[visibility, state] = row.id
    with service.database.write() as session:
        _, admin = tokens.create(session, users.add_user(session, "seeing-all", role=Role.ADMIN))
    rival = service.token("rival")
    rival_id = service.submit_and_score(rival, "seen", npy(example.scores(1.0)), method="rival")["id"]
    return Roles(service, ids, owners, {"admin": admin, "other": service.token("somebody")}, rival_id)
