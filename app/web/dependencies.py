"""Dependencies of endpoints and pages, each defined once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from sqlalchemy.orm import Session

from app.accounts.audit import Actor
from app.accounts.users import Account, authenticate
from app.benchmarks.catalog import find_version
from app.context import AppContext
from app.db.accounts import Role, Scope
from app.db.models import Version
from app.leaderboard.stored_snapshots import StoredSnapshot, find_snapshot
from app.settings import Settings
from app.submissions.field_types import DAY_PATTERN
from app.submissions.storage import Storage
from ldsboard.problems import ProblemError

COUNTED = "ldsboard.counted"
"""Key in the scope of a request; its value is True once the rate limit has counted the request."""


# Dependencies that only look something up are asynchronous: FastAPI calls each synchronous dependency in a thread, which takes
# about 0.2 ms.
async def _context(request: Request) -> AppContext:
    context: AppContext = request.app.state.context
    return context


ContextDep = Annotated[AppContext, Depends(_context)]


async def _settings(context: ContextDep) -> Settings:
    return context.settings


async def _storage(context: ContextDep) -> Storage:
    return context.storage


SettingsDep = Annotated[Settings, Depends(_settings)]
StorageDep = Annotated[Storage, Depends(_storage)]


def client_address(request: Request) -> str:
    """Return the address of the client: for a request through a trusted proxy, the address from the X-Forwarded-For header.

    If the server does not know the address, the result is ``unknown``.
    """
    return request.client.host if request.client else "unknown"


async def count_request(request: Request, context: ContextDep) -> None:
    """Count a request towards the rate limit of the client's address. Further calls for the same request do nothing.

    Raises
    ------
    RateError
        The request exceeds the rate limit.
    """
    if not request.scope.get(COUNTED, False):
        request.scope[COUNTED] = True
        context.rate_limiter.count("address", client_address(request))


async def _read_turn(request: Request) -> AsyncIterator[None]:
    async with request.app.state.admission.turn():
        yield


async def _write_turn(request: Request) -> AsyncIterator[None]:
    async with request.app.state.admission.turn(write=True):
        yield


_ReadTurn = Annotated[None, Depends(_read_turn, scope="function")]
WriteTurn = Annotated[None, Depends(_write_turn, scope="function")]
"""A turn to write, for calls that open their own write sessions instead of using `WriteSession`."""


def _read_session(context: ContextDep, _turn: _ReadTurn) -> Iterator[Session]:
    with context.database.read() as session:
        yield session


def _write_session(context: ContextDep, _turn: WriteTurn) -> Iterator[Session]:
    with context.database.write() as session:
        yield session


# Function scope: sessions commit before the response is sent, so that no client receives a success that was not committed.
ReadSession = Annotated[Session, Depends(_read_session, scope="function")]
WriteSession = Annotated[Session, Depends(_write_session, scope="function")]

# For the API documentation only, which then has a field for a token; `_authorization` and `_account` read the header themselves.
_bearer = HTTPBearer(auto_error=False, bearerFormat="ldsb_…")
_Documented = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def _authorization(request: Request, _documented: _Documented) -> str | None:
    return request.headers.get("authorization")


Authorization = Annotated[str | None, Depends(_authorization)]
"""The Authorization header of a call to a multipart upload, not yet checked; None if the request has no such header.

`app.submissions.multipart.authorize` accepts the upload token, or a token of the upload's owner."""


def _account(request: Request, context: ContextDep, _documented: _Documented) -> Account:
    # A separate session, closed at once: an upload may take minutes, and must not hold a database connection for that time.
    with context.database.read() as session:
        account = authenticate(session, request.headers.get("authorization"))
    context.rate_limiter.count("user", account.name)
    return account


CurrentUser = Annotated[Account, Depends(_account)]


def _viewer(request: Request, context: ContextDep, documented: _Documented) -> Account | None:
    return _account(request, context, documented) if request.headers.get("authorization") else None


OptionalUser = Annotated[Account | None, Depends(_viewer)]


async def _whole_account_user(caller: CurrentUser) -> Account:
    caller.require_all_methods()
    return caller


WholeAccountUser = Annotated[Account, Depends(_whole_account_user)]
"""A user whose token is not restricted to one method."""


async def _submitting_user(caller: CurrentUser) -> Account:
    caller.require(Scope.SUBMIT)
    return caller


async def _managing_user(caller: CurrentUser) -> Account:
    caller.require_all_methods()
    caller.require(Scope.MANAGE)
    return caller


SubmittingUser = Annotated[Account, Depends(_submitting_user)]
ManagingUser = Annotated[Account, Depends(_managing_user)]


async def _admin(caller: ManagingUser) -> Account:
    if caller.role is not Role.ADMIN:
        raise ProblemError(
            "auth.role", "This call is for admins, and the token belongs to another user.", "Use a token of an admin."
        )
    return caller


AdminUser = Annotated[Account, Depends(_admin)]
"""An admin whose token has the scope `Scope.MANAGE`."""


async def _actor(request: Request, caller: CurrentUser) -> Actor:
    return Actor(caller.name, client_address(request))


ActorDep = Annotated[Actor, Depends(_actor)]

PublisherId = Annotated[int, Path(ge=1, lt=2**31)]

VersionNumber = Annotated[
    int | None, Query(ge=1, lt=2**31, description="version of the benchmark; by default the current version")
]


def _version(session: ReadSession, name: str, version: VersionNumber = None) -> Version:
    return find_version(session, name, version)


def _current_version(session: ReadSession, name: str) -> Version:
    return find_version(session, name)


VersionDep = Annotated[Version, Depends(_version)]
"""A version of a benchmark: the path names the benchmark (``name``), the query parameter ``version`` selects the version.

The default is the current version."""

CurrentVersionDep = Annotated[Version, Depends(_current_version)]
"""The current version of the benchmark ``name`` in the path."""


def _snapshot(
    settings: SettingsDep,
    session: ReadSession,
    name: str,
    number: Annotated[int, Path(ge=1, lt=2**31)],
    day: Annotated[str, Path(pattern=DAY_PATTERN)],
) -> StoredSnapshot:
    version = find_version(session, name, number)
    return find_snapshot(settings.snapshots_dir, version.benchmark.name, version.version, day)


SnapshotDep = Annotated[StoredSnapshot, Depends(_snapshot)]
"""A snapshot: the path names the benchmark (``name``), the version (``number``) and the day (``day``)."""
