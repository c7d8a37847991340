"""What endpoints and pages ask for, each named once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from sqlalchemy.orm import Session

from app.accounts.audit import Actor
from app.accounts.users import Account, authenticate
from app.context import AppContext
from app.db.accounts import Scope


def _rooms(request: Request) -> AppContext:
    context: AppContext = request.app.state.context
    return context


ContextDep = Annotated[AppContext, Depends(_rooms)]


def client_address(request: Request) -> str:
    """Return where a request comes from, as far as it is believed."""
    return request.client.host if request.client else "unknown"


async def count_request(request: Request, context: ContextDep) -> None:
    """Count a request of its address, and refuse one too many."""
    context.rate_limiter.count("address", client_address(request))


def _reading(context: ContextDep) -> Iterator[Session]:
    with context.database.read() as session:
        yield session


def _writing(context: ContextDep) -> Iterator[Session]:
    with context.database.write() as session:
        yield session


# Closed with the function, not after the response was sent: nobody is told of what was not committed.
ReadSession = Annotated[Session, Depends(_reading, scope="function")]
WriteSession = Annotated[Session, Depends(_writing, scope="function")]

# Only for the documentation of the API, which then offers to send a token; the header itself is read below.
_bearer = HTTPBearer(auto_error=False, bearerFormat="ldsb_…")
_Shown = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def _authorization(request: Request, _shown: _Shown) -> str | None:
    return request.headers.get("authorization")


Authorization = Annotated[str | None, Depends(_authorization)]
"""What opens one upload: its capability, or a token of its owner."""


def _account(request: Request, context: ContextDep, _shown: _Shown) -> Account:
    # A session of its own, closed at once: an upload may take minutes, and must hold no connection meanwhile.
    with context.database.read() as session:
        account = authenticate(session, request.headers.get("authorization"))
    context.rate_limiter.count("user", account.name)
    return account


CurrentUser = Annotated[Account, Depends(_account)]


def _viewer(request: Request, context: ContextDep, shown: _Shown) -> Account | None:
    return _account(request, context, shown) if request.headers.get("authorization") else None


OptionalUser = Annotated[Account | None, Depends(_viewer)]


def _submitting(caller: CurrentUser) -> Account:
    caller.require(Scope.SUBMIT)
    return caller


def _managing(caller: CurrentUser) -> Account:
    caller.require(Scope.MANAGE)
    return caller


SubmittingUser = Annotated[Account, Depends(_submitting)]
ManagingUser = Annotated[Account, Depends(_managing)]


def _actor(request: Request, caller: CurrentUser) -> Actor:
    return Actor(caller.name, client_address(request))


ActorDep = Annotated[Actor, Depends(_actor)]
VersionNumber = Annotated[int | None, Query(ge=1, lt=2**31, description="a version; by default the current one")]
