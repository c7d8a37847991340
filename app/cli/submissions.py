"""The operator's commands for submissions: ``python -m app submission …``."""

from __future__ import annotations

from typing import Annotated

import typer

from app.accounts.audit import OPERATOR
from app.cli.common import write_session
from app.management import moderation
from app.settings import Settings
from ldsboard.invocation import program

submission = typer.Typer(help="Hide submissions from public view, and show them again.", no_args_is_help=True)


@submission.command("suspend")
def suspend_submission(
    submission_id: Annotated[str, typer.Argument(help="Id of the submission: the end of the address of its page.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; one line, which the owner reads.")],
) -> None:
    """Hide a submission from everybody except its owner and the admins; rank the other entries without it."""
    with write_session() as session:
        moderation.suspend(session, submission_id, reason, Settings().contact, OPERATOR)
    typer.echo(
        f"Submission {submission_id} is hidden. To show it again: "
        f"{program('python')} -m app submission reinstate {submission_id}"
    )


@submission.command("reinstate")
def reinstate_submission(
    submission_id: Annotated[str, typer.Argument(help="Id of the submission: the end of the address of its page.")],
) -> None:
    """Show a suspended submission again."""
    with write_session() as session:
        was_hidden = moderation.reinstate(session, submission_id, OPERATOR)
    typer.echo(
        f"Submission {submission_id} is shown again."
        if was_hidden
        else f"Submission {submission_id} was not hidden by an admin. Nothing has changed."
    )
