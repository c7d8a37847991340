"""What has arrived whole becomes a submission, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services import files, results, visibility

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Response
    from sqlalchemy.orm import Session

    from app.rooms import Rooms
    from app.services.accounts import Account
    from app.services.views import SubmissionView


def accepted(rooms: Rooms, sha256: str, accept: Callable[[Session], str]) -> str:
    """Return what `accept` returns, once that is committed; if it cannot be, the file is not kept either."""
    try:
        with rooms.database.write() as session:
            submission_id = accept(session)
    except BaseException:
        # In a transaction of its own, so that nobody takes up the same content meanwhile.
        with rooms.database.write() as session:
            files.discard_unreferenced(session, rooms.storage, [sha256])
        raise
    rooms.runner.notify()
    return submission_id


def located(rooms: Rooms, submission_id: str, viewer: Account | None, response: Response) -> SubmissionView:
    """Return a submission as the answer to the call that sent its file."""
    view = shown(rooms, submission_id, viewer)
    response.headers["Location"] = view.links["self"]
    return view


def shown(rooms: Rooms, submission_id: str, viewer: Account | None) -> SubmissionView:
    """Return a submission as somebody may see it."""
    with rooms.database.read() as session:
        return results.view(session, visibility.find(session, submission_id, viewer), viewer)
