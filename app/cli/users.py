"""The operator's commands for users and their tokens: ``python -m app user …`` and ``python -m app token …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.accounts import audit, tokens, users
from app.accounts.audit import OPERATOR, Action
from app.cli.common import open_database, write_session
from app.db.accounts import Role, Scope
from app.leaderboard.ranking import Ranker
from app.management import account_deletion, moderation
from app.results.account_export import export_account
from app.settings import Settings
from app.submissions.opened_storage import open_storage
from ldsboard.counts import count
from ldsboard.invocation import program

user = typer.Typer(help="Manage users.", no_args_is_help=True)
token = typer.Typer(help="Manage API tokens.", no_args_is_help=True)


@user.command("add")
def add_user(
    name: Annotated[str, typer.Argument(help="Name of the user, in lower case.")],
    *,
    role: Annotated[Role | None, typer.Option(help="Role; by default user.", show_default=False)] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Allow an existing user to become an admin.")] = False,
    ranked_per_day: Annotated[
        int | None, typer.Option(min=0, max=2**31 - 1, help="The user's own quota of ranked submissions in 24 hours.")
    ] = None,
    ranked_per_version: Annotated[
        int | None,
        typer.Option(min=0, max=2**31 - 1, help="The user's own quota of ranked submissions to one version."),
    ] = None,
) -> None:
    """Add a user, or change the role and quotas of an existing user."""
    with write_session() as session:
        found = users.add_user(
            session,
            name,
            role=role,
            promote=promote,
            ranked_per_day=ranked_per_day,
            ranked_per_version=ranked_per_version,
        )
        quotas = {"ranked_per_day": found.ranked_per_day, "ranked_per_version": found.ranked_per_version}
        audit.record_action(session, OPERATOR, Action.USER_CHANGED, name, role=found.role, **quotas)
    typer.echo(f"User {name} is saved. Create a token: {program('python')} -m app token create {name}")


@user.command("approve")
def approve_user(name: Annotated[str, typer.Argument(help="Name of the user.")]) -> None:
    """Vouch for a user: ranked submissions of the user no longer use the quota that unverified users share."""
    with write_session() as session:
        users.approve(session, users.find_user(session, name), OPERATOR)
    typer.echo(f"User {name} is approved.")


@user.command("ban")
def ban_user(
    name: Annotated[str, typer.Argument(help="Name of the user.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; one line, which the user reads.")],
) -> None:
    """Refuse sign-in and all tokens of a user. Public submissions stay public; queued submissions wait."""
    with write_session() as session:
        moderation.ban(session, name, reason, Settings().contact, OPERATOR)
    typer.echo(f"User {name} is banned. To lift the ban: {program('python')} -m app user unban {name}")


@user.command("unban")
def unban_user(name: Annotated[str, typer.Argument(help="Name of the user.")]) -> None:
    """Lift the ban of a user."""
    with write_session() as session:
        was_banned = moderation.lift_ban(session, name, OPERATOR)
    typer.echo(f"The ban of {name} is lifted." if was_banned else f"User {name} was not banned. Nothing has changed.")


@user.command("export")
def export_user(
    name: Annotated[str, typer.Argument(help="Name of the user.")],
    file: Annotated[Path, typer.Argument(help="JSON file to write.")],
) -> None:
    """Write everything that the server stores about a user to a new JSON file."""
    with open_database(ValueError, OSError) as (_, database):
        with database.read() as session:
            user_id = users.find_user(session, name).id
        with file.open("x", encoding="utf-8") as output:
            output.writelines(export_account(database, user_id))
    typer.echo(f"Wrote {file}.")


@user.command("delete")
def delete_user(
    name: Annotated[str, typer.Argument(help="Name of the user.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Delete the account of a user.

    Scored ranked submissions stay, under a placeholder name, unless they are private or suspended.
    """
    with open_database(ValueError, RuntimeError) as (settings, database):
        with database.read() as session:
            user_id = users.find_user(session, name).id
            extent = account_deletion.extent(session, user_id)
        kept, erased = count(extent.kept, "submission"), count(extent.erased, "submission")
        question = f"Delete user {name}? Under a placeholder name stay: {kept}. Deleted with their files: {erased}."
        if not yes:
            typer.confirm(question, abort=True)
        storage = open_storage(settings)
        placeholder = account_deletion.delete_account(database, Ranker(database), storage, user_id, OPERATOR)
    typer.echo(f"User {name} is deleted. Its public results are shown under the name {placeholder}.")


@token.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Name of the token's user.")],
    *,
    label: Annotated[
        str | None, typer.Option(help="Name of the token; by default a random name.", show_default=False)
    ] = None,
    scope: Annotated[
        list[Scope], typer.Option(help="What the token allows; repeat the option for several scopes.")
    ] = list(Scope),  # noqa: B006 -- never changed
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="Days until the token expires; by default, it never expires.")
    ] = None,
) -> None:
    """Create a token and print it, and nothing else, to standard output. The token cannot be shown again."""
    with write_session() as session:
        found, expires_at = users.find_user(session, name), tokens.expiry_time(days)
        created, value = tokens.create(session, found, name=label, scopes=scope, expires_at=expires_at)
        audit.record_action(session, OPERATOR, Action.TOKEN_CREATED, name, token=created.name, scopes=created.scopes)
    typer.echo(value)


@token.command("list")
def list_tokens(name: Annotated[str, typer.Argument(help="Name of the tokens' user.")]) -> None:
    """List the names, scopes and dates of a user's tokens; the short-lived tokens of CI runs are left out."""
    with open_database(ValueError) as (_, database), database.read() as session:
        for found in tokens.list_tokens(session, users.find_user(session, name).id):
            ends = "never expires" if found.expires_at is None else f"expires {found.expires_at:%Y-%m-%d %H:%M} UTC"
            typer.echo(f"{found.name}: {', '.join(found.scopes)}; created {found.created_at:%Y-%m-%d}, {ends}")


@token.command("revoke")
def revoke_token(
    name: Annotated[str, typer.Argument(help="Name of the token's user.")],
    label: Annotated[str, typer.Argument(help="Name of the token, as `token list` shows it.")],
) -> None:
    """Revoke a token. Requests with the token fail from now on."""
    with write_session() as session:
        tokens.revoke(session, users.find_user(session, name).id, name=label)
        audit.record_action(session, OPERATOR, Action.TOKEN_REVOKED, name, token=label)
    typer.echo(f"The token {label} of {name} is revoked.")
