"""API calls for the data of a user's own account: export and deletion."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from app.management import account_deletion
from app.results.account_export import export_account
from app.web.dependencies import ActorDep, ContextDep, ManagingUser, WriteTurn

router = APIRouter(tags=["account"])


@router.get("/users/me/export", responses={200: {"content": {"application/json": {}}}}, response_model=None)
def export_own_account(caller: ManagingUser, context: ContextDep) -> StreamingResponse:
    """Download everything that the server stores about you, as one JSON object.

    The object has the members `account`, `identities`, `publishers`, `tokens` and `webhooks` (without their secret values),
    `aliases`, `submissions` and `audit`. Score files are not included: `file_sha256` is the SHA-256 of a stored file.
    """
    headers = {
        "Content-Disposition": f'attachment; filename="ldsboard-{caller.name}.json"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(
        export_account(context.database, caller.id), media_type="application/json", headers=headers
    )


@router.delete("/users/me", status_code=204)
def delete_own_account(
    caller: ManagingUser,
    actor: ActorDep,
    context: ContextDep,
    _turn: WriteTurn,
    confirm: Annotated[str, Query(description="your user name, so that no account is deleted by mistake")],
) -> None:
    """Delete your account. This cannot be undone.

    Your tokens and sessions end at once. A placeholder name replaces your user name.

    A scored ranked submission is kept with its method, result and file if the submission is public or anonymous, and not
    suspended. Its title, description, tags, links, provenance and device are removed. Any other submission that counts as an
    attempt becomes a withdrawn submission without content. All other submissions are deleted.

    The audit log keeps your earlier actions until its retention ends. Hashes of your user name and sign-ins are kept, so that
    nobody can take the name and the deletion does not renew quotas.
    """
    account_deletion.check_confirmation(confirm, caller.name)
    account_deletion.delete_account(context.database, context.ranker, context.storage, caller.id, actor)
