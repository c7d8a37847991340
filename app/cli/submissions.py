"""The operator's commands for submissions: ``python -m app submission …``."""

from __future__ import annotations

from typing import Annotated

import typer

from app.accounts.audit import OPERATOR
from app.cli.common import write_session
from app.management import moderation
from app.settings import Settings

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
        f"Submission {submission_id} is hidden. To show it again: python -m app submission reinstate {submission_id}"
    )


@submission.command("reinstate")
def reinstate_submission(
    submission_id: Annotated[str, typer.Argument(help="Id of the submission: the end of the address of its page.")],
) -> None:
    """Show a suspended submission again."""
    with write_session() as session:
        moderation.reinstate(session, submission_id, OPERATOR)
    typer.echo(f"Submission {submission_id} is not hidden by an admin.")
