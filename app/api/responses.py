"""Steps that single and multipart uploads share: accepting a received file, and responding with its submission."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.results import submission_views
from app.submissions import files, visibility

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import Response
    from sqlalchemy.orm import Session

    from app.accounts.users import Account
    from app.context import AppContext
    from app.results.schemas import SubmissionView
    from app.submissions.arrivals import Arrival


@contextmanager
def accept_file(context: AppContext, arrival: Arrival) -> Iterator[Session]:
    """Yield a write session in which the caller accepts a flushed file; after the commit, wake the threads that score files.

    A file for an object store is sent before the session begins.

    After any error in the block or the commit, the stored file is deleted unless another submission refers to the file.
    """
    context.storage.send(arrival)
    try:
        with context.database.write() as session:
            yield session
    except BaseException:
        files.delete_unreferenced(context.database, context.storage, [arrival.sha256])
        raise
    context.runner.notify()


def respond_with_submission(
    context: AppContext, submission_id: str, viewer: Account | None, response: Response
) -> SubmissionView:
    """Return what `view_submission` returns, and set the Location header of `response` to the address of the submission."""
    view = view_submission(context, submission_id, viewer)
    response.headers["Location"] = view.links["self"]
    return view


def view_submission(context: AppContext, submission_id: str, viewer: Account | None) -> SubmissionView:
    """Return a submission, without the fields that `viewer` is not allowed to see; None is a viewer without a token.

    Raises
    ------
    ProblemError
        ``submission.unknown``: no such submission is visible to the viewer. ``auth.method``: the token is for another method.
    """
    with context.database.read() as session:
        submission = visibility.find_submission(session, submission_id, viewer)
        view = submission_views.submission_view(session, submission, viewer)
        view.notice = submission_views.delay_notice(
            session, view.state, restarting=context.sandbox.is_restarting, workers_score=context.settings.workers_score
        )
    return view
