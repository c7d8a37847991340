"""Steps that single and multipart uploads share: accepting a received file, and responding with its submission."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.results import submission_views
from app.submissions import files, visibility

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Response
    from sqlalchemy.orm import Session

    from app.accounts.users import Account
    from app.context import AppContext
    from app.results.schemas import SubmissionView


def accept_file(context: AppContext, sha256: str, accept: Callable[[Session], str]) -> str:
    """Accept a received file in one transaction, and notify the runner.

    If the transaction fails, the stored file is deleted unless another submission refers to it.

    Parameters
    ----------
    sha256
        SHA-256 of the file.
    accept
        Function that accepts the file and returns the id of its submission.

    Returns
    -------
    str
        The id that `accept` returned.
    """
    try:
        with context.database.write() as session:
            submission_id = accept(session)
    except BaseException:
        # In a transaction, so that no other submission can start to refer to the same content meanwhile.
        with context.database.write() as session:
            files.delete_unreferenced(session, context.storage, [sha256])
        raise
    context.runner.notify()
    return submission_id


def respond_with_submission(
    context: AppContext, submission_id: str, viewer: Account | None, response: Response
) -> SubmissionView:
    """Return a submission as the response to the call that completed its upload, and set the Location header."""
    view = view_submission(context, submission_id, viewer)
    response.headers["Location"] = view.links["self"]
    return view


def view_submission(context: AppContext, submission_id: str, viewer: Account | None) -> SubmissionView:
    """Return a submission as `viewer` may see it."""
    with context.database.read() as session:
        return submission_views.submission_view(
            session, visibility.find_submission(session, submission_id, viewer), viewer
        )
