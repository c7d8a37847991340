"""What endpoints and pages ask for, each named once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from sqlalchemy.orm import Session

from app.db.accounts import Scope
from app.rooms import Rooms
from app.services.accounts import Account, authenticate
from app.services.audit import Actor


def _rooms(request: Request) -> Rooms:
    rooms: Rooms = request.app.state.rooms
    return rooms


TheRooms = Annotated[Rooms, Depends(_rooms)]


def address_of(request: Request) -> str:
    """Return where a request comes from, as far as it is believed."""
    return request.client.host if request.client else "unknown"


async def count_request(request: Request, rooms: TheRooms) -> None:
    """Count a request of its address, and refuse one too many."""
    rooms.rates.count("address", address_of(request))


def _reading(rooms: TheRooms) -> Iterator[Session]:
    with rooms.database.read() as session:
        yield session


def _writing(rooms: TheRooms) -> Iterator[Session]:
    with rooms.database.write() as session:
        yield session


# Closed with the function, not after the response was sent: nobody is told of what was not committed.
Reading = Annotated[Session, Depends(_reading, scope="function")]
Writing = Annotated[Session, Depends(_writing, scope="function")]

# Only for the documentation of the API, which then offers to send a token; the header itself is read below.
_bearer = HTTPBearer(auto_error=False, bearerFormat="ldsb_…")
_Shown = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def _authorization(request: Request, _shown: _Shown) -> str | None:
    return request.headers.get("authorization")


Authorization = Annotated[str | None, Depends(_authorization)]
"""What opens one upload: its capability, or a token of its owner."""


def _account(request: Request, rooms: TheRooms, _shown: _Shown) -> Account:
    # A session of its own, closed at once: an upload may take minutes, and must hold no connection meanwhile.
    with rooms.database.read() as session:
        account = authenticate(session, request.headers.get("authorization"))
    rooms.rates.count("user", account.name)
    return account


Caller = Annotated[Account, Depends(_account)]


def _viewer(request: Request, rooms: TheRooms, shown: _Shown) -> Account | None:
    return _account(request, rooms, shown) if request.headers.get("authorization") else None


Viewer = Annotated[Account | None, Depends(_viewer)]


def _submitting(caller: Caller) -> Account:
    caller.require(Scope.SUBMIT)
    return caller


def _managing(caller: Caller) -> Account:
    caller.require(Scope.MANAGE)
    return caller


Submitting = Annotated[Account, Depends(_submitting)]
Managing = Annotated[Account, Depends(_managing)]


def _actor(request: Request, caller: Caller) -> Actor:
    return Actor(caller.name, address_of(request))


TheActor = Annotated[Actor, Depends(_actor)]
WhichVersion = Annotated[int | None, Query(ge=1, lt=2**31, description="a version; by default the current one")]
