"""The exchange of identity tokens without a server, with a clock that tests can set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.accounts import identity_tokens, minting, publishers, users
from app.accounts.key_sets import KeySets
from app.accounts.quotas import Quotas
from app.db.accounts import Publisher, SeenIdentity, Token
from ldsboard.problems import ProblemError
from tests.app.event_loop import run_in_loop

if TYPE_CHECKING:
    from app.accounts.identity_tokens import VerifiedToken
    from app.db.sessions import Database
    from app.settings import Settings
    from ldsboard.problems import Problem
    from tests.app.oidc.provider import CiProvider

AUDIENCE = "https://board.example"


class Exchange:
    """A provider, a database, and the steps of an exchange. ``time`` is what the clock of the key sets shows, in seconds."""

    def __init__(self, provider: CiProvider, settings: Settings, database: Database) -> None:
        self.provider, self.database = provider, database
        self.issuers = settings.issuers
        self.time = 1000.0
        self.key_sets = KeySets(lambda: self.time)
        self.quotas = Quotas(5, 30)

    def verify(self, token: str) -> VerifiedToken:
        """Verify an identity token."""
        return run_in_loop(identity_tokens.verify(token, self.issuers, self.key_sets, AUDIENCE))

    def mint(self, claims: dict[str, Any], method: str = "ours", owner: str = "alice") -> tuple[Token, str]:
        """Sign claims and exchange the identity token; return the row of the new token and the token."""
        return self.mint_verified(self.verify(self.provider.sign(claims)), method, owner)

    def mint_verified(self, verified: VerifiedToken, method: str = "ours", owner: str = "alice") -> tuple[Token, str]:
        """Exchange a verified identity token."""
        with self.database.write() as session:
            return minting.mint(session, verified, method, owner, self.quotas, "192.0.2.1")

    def refusal(self, claims: dict[str, Any], method: str = "ours", owner: str = "alice") -> Problem:
        """Return the problem with which an exchange is refused; nothing may have been stored."""
        before = self.rows()
        try:
            self.mint(claims, method, owner)
        except ProblemError as error:
            assert self.rows() == before
            return error.problem
        raise AssertionError("expected a refusal")

    def register(self, user: str = "alice", **changes: Any) -> Publisher:
        """Register the workflow of the provider's GitHub repository for a user, with changed fields."""
        fields = {
            "method": "ours",
            "issuer": self.provider.github,
            "repository": "octo-org/octo-repo",
            "repository_id": "74",
            "owner_id": "65",
            "workflow": ".github/workflows/lds.yml",
        }
        with self.database.write() as session:
            owner = users.add_user(session, user)
            return publishers.create(session, self.issuers, owner.id, **fields | changes)

    def rows(self) -> tuple[int, int]:
        """Return the numbers of tokens and of used identity tokens."""
        with self.database.read() as session:
            return session.query(Token).count(), session.query(SeenIdentity).count()
