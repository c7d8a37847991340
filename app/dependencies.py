"""What endpoints and pages ask for, each named once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from sqlalchemy.orm import Session

from app.rooms import Rooms
from app.services.accounts import Account, authenticate


def _rooms(request: Request) -> Rooms:
    rooms: Rooms = request.app.state.rooms
    return rooms


TheRooms = Annotated[Rooms, Depends(_rooms)]


def _reading(rooms: TheRooms) -> Iterator[Session]:
    with rooms.database.read() as session:
        yield session


# Closed with the function, not after the response was sent.
Reading = Annotated[Session, Depends(_reading, scope="function")]

# Only for the documentation of the API, which then offers to send a token; the header itself is read below.
_bearer = HTTPBearer(auto_error=False, bearerFormat="ldsb_…")
_Shown = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def _account(request: Request, rooms: TheRooms, _shown: _Shown) -> Account:
    # A session of its own, closed at once: an upload may take minutes, and must hold no connection meanwhile.
    with rooms.database.read() as session:
        return authenticate(session, request.headers.get("authorization"))


Caller = Annotated[Account, Depends(_account)]
WhichVersion = Annotated[int | None, Query(ge=1, lt=2**31, description="a version; by default the current one")]
