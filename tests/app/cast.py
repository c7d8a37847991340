"""A board with submissions of every visibility in every state, and everybody who may look at them."""

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

ERROR = {"code": "scores.nonfinite", "expected": "finite scores", "got": "one NaN", "hint": "Look for it."}


class Cast(NamedTuple):
    """A board with submissions of every visibility and state, each visibility with an owner of its own, and the roles' tokens."""

    service: Service
    ids: dict[tuple[Visibility, State], str]
    owners: dict[Visibility, str]
    tokens: dict[str, str]
    rival: str

    def of(self, visibility: Visibility) -> Cast:
        """Return the cast in which the owner is that of this visibility's submissions."""
        return self._replace(tokens=self.tokens | {"owner": self.owners[visibility]})

    def get(self, path: str, role: str, **query: str) -> httpx.Response:
        """Ask for a path as somebody in this role does."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role in self.tokens else {}
        return self.service.client.get(f"{self.service.url}{path}", params=query, headers=headers)


def commit(visibility: Visibility) -> str:
    return visibility.encode().hex().ljust(40, "0")


def marks(visibility: Visibility) -> dict[str, Any]:
    """What tells who sent a submission of this visibility."""
    return {
        "method": f"method-of-{visibility}",
        "title": f"Title of {visibility}",
        "description": f"Description of {visibility}",
        "tags": [f"tag-of-{visibility}"],
        "urls": {"code": f"https://example.org/code-of-{visibility}"},
    }


def secrets(visibility: Visibility) -> list[str]:
    """What nobody may read who may not know whose it is."""
    told = marks(visibility)
    return [
        f"owner-{visibility}",
        told["method"],
        told["title"],
        told["description"],
        *told["tags"],
        *told["urls"].values(),
    ]


def origin(visibility: Visibility) -> list[str]:
    """What tells where the scored submission of this visibility comes from."""
    return [f"repository-of-{visibility}", commit(visibility)]


def assemble(service: Service, folder: Path) -> Cast:
    """Publish a benchmark, send and write all submissions, and make all tokens."""
    example = write_benchmark(folder, "seen")
    service.publish(example.folder)
    ids: dict[tuple[Visibility, State], str] = {}
    owners = {visibility: service.token(f"owner-{visibility}") for visibility in Visibility}
    for visibility, token in owners.items():
        told = marks(visibility)
        repository, of_commit = origin(visibility)
        content = npy(example.scores(0.5))
        sent = service.scored(token, "seen", content, method=told["method"], repository=repository, commit=of_commit)
        ids[visibility, State.SCORED] = sent["id"]
        edited = service.client.patch(
            f"/submissions/{sent['id']}",
            headers={"Authorization": f"Bearer {token}"},
            json={name: told[name] for name in told.keys() - {"method"}} | {"visibility": visibility},
        )
        assert edited.status_code == 200, edited.text
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
                        **told,
                    )
                    row.error = ERROR if state in (State.REJECTED, State.FAILED) else None
                    session.add(row)
                    session.flush()
                    ids[visibility, state] = row.id
    with service.database.write() as session:
        _, admin = tokens.create(session, users.add_user(session, "seeing-all", role=Role.ADMIN))
    rival = service.token("rival")
    other = service.scored(rival, "seen", npy(example.scores(1.0)), method="rival")["id"]
    return Cast(service, ids, owners, {"admin": admin, "other": service.token("somebody")}, other)
