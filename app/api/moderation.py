"""API calls for admins: suspend and reinstate submissions, ban and unban users."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.api.responses import view_submission
from app.management import moderation
from app.results.schemas import SubmissionView
from app.web.dependencies import ActorDep, AdminUser, ContextDep, SettingsDep, WriteSession, WriteTurn

router = APIRouter(tags=["moderation"])


class Reason(BaseModel, extra="forbid"):
    """The reason of a suspension or a ban."""

    reason: str = Field(
        min_length=1, max_length=moderation.MAX_REASON_LENGTH, description="one line, which the user reads"
    )


@router.put("/submissions/{submission_id}/suspension")
def suspend_submission(
    caller: AdminUser, actor: ActorDep, context: ContextDep, _turn: WriteTurn, submission_id: str, given: Reason
) -> SubmissionView:
    """Hide a submission from everybody except its owner and the admins. Only admins can make this call.

    The other entries are ranked without the submission. The owner reads the reason on the page of the submission.
    """
    with context.database.write() as session:
        moderation.suspend(session, submission_id, given.reason, context.settings.contact, actor)
    context.ranker.renew_all()
    return view_submission(context, submission_id, caller)


@router.delete("/submissions/{submission_id}/suspension", status_code=204)
def reinstate_submission(
    _caller: AdminUser, actor: ActorDep, context: ContextDep, _turn: WriteTurn, submission_id: str
) -> None:
    """Lift the suspension of a submission. Only admins can make this call."""
    with context.database.write() as session:
        moderation.reinstate(session, submission_id, actor)
    context.ranker.renew_all()


@router.put("/users/{name}/ban", status_code=204)
def ban_user(
    _caller: AdminUser, actor: ActorDep, settings: SettingsDep, session: WriteSession, name: str, given: Reason
) -> None:
    """Ban a user: the server refuses sign-in and all tokens of the user, and states the reason. Only admins can make this call.

    Public submissions of the user stay public, and queued submissions wait until the ban is lifted.
    """
    moderation.ban(session, name, given.reason, settings.contact, actor)


@router.delete("/users/{name}/ban", status_code=204)
def lift_ban(_caller: AdminUser, actor: ActorDep, context: ContextDep, _turn: WriteTurn, name: str) -> None:
    """Lift the ban of a user. Only admins can make this call."""
    with context.database.write() as session:
        moderation.lift_ban(session, name, actor)
    context.runner.notify()  # the user's queued submissions no longer wait
