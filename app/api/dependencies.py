"""What endpoints ask for, each named once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Header, Request
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


def _account(session: Reading, authorization: Annotated[str | None, Header()] = None) -> Account:
    return authenticate(session, authorization)


Caller = Annotated[Account, Depends(_account, scope="function")]
