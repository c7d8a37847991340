"""The page for admins: the queue, running and failed evaluations, processes, accounts without approval, versions and disk.

For everybody else, the addresses of this page do not exist.
"""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Path, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts import users
from app.accounts.users import Account
from app.benchmarks import catalog
from app.context import AppContext
from app.db import migration, presence
from app.db.accounts import Role
from app.db.base import now
from app.management import moderation, queue_report, readiness, retraining_report, retries
from app.pages.content.templates import render
from app.web.dependencies import ContextDep, ReadSession, WriteSession, WriteTurn
from app.web.sessions import FormActor, FormUser, SignedInUser
from ldsboard.core import result

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

MAX_ACCOUNTS = 50
"""Maximum number of accounts without a verified identity on the page."""


async def _admin(visitor: SignedInUser) -> Account:
    """Return the signed-in admin; raise HTTPException with status 404, as for an unknown address, for everybody else."""
    if visitor is None or visitor.role is not Role.ADMIN:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return visitor


AdminVisitor = Annotated[Account, Depends(_admin)]


@router.get("/admin")
def show_operation(request: Request, context: ContextDep, _visitor: AdminVisitor, session: ReadSession) -> str:
    """Show the queue, evaluations that run or failed, processes, accounts that wait for approval, versions and disk."""
    faults = readiness.find_faults(session, context.storage, context.sandbox)
    processes = presence.processes(session)
    connected = {f"{each.host}/{each.pid}" for each in processes if not each.is_silent}
    running = queue_report.running(session)
    has_workers = not context.settings.scoring_processes
    return render(
        "admin.html",
        form=request.session["form"],
        time=now(),
        faults=faults,
        needs_worker=has_workers and not presence.count_workers(session),
        queue=queue_report.queue_state(session),
        running=running,
        processes=processes,
        connected=connected,
        missing={each.worker for each in running if each.worker} - connected if has_workers else set(),
        lost=queue_report.lost(session),
        failed=queue_report.failed(session),
        retrained=retraining_report.counts(session),
        retrainings=retraining_report.without_result(session),
        accounts=users.unverified(session, MAX_ACCOUNTS),
        max_accounts=MAX_ACCOUNTS,
        needs_approval=context.settings.ranked_needs_approval,
        server=_server_facts(session, context),
        boards=[(found.benchmark, found) for found in catalog.current_versions(session)],
        scorer_version=result.SCORER_VERSION,
    )


@router.post("/admin/submissions/{submission_id}/retry")
def retry_evaluation(
    context: ContextDep,
    _visitor: AdminVisitor,
    _sender: FormUser,
    actor: FormActor,
    _turn: WriteTurn,
    submission_id: str,
    version_id: Annotated[int, Form(ge=1, lt=2**31)],
) -> Response:
    """Queue an evaluation that failed permanently again, unless this was done before; redirect to the page."""
    with context.database.write() as session:
        retries.retry(session, submission_id, version_id, actor)
    context.runner.notify()
    return RedirectResponse("/admin#failed", status.HTTP_303_SEE_OTHER)


@router.post("/admin/users/{name}/approve")
def approve_user(
    _visitor: AdminVisitor,
    _sender: FormUser,
    actor: FormActor,
    session: WriteSession,
    name: Annotated[str, Path(max_length=64)],
) -> Response:
    """Vouch for a user, unless this was done before; redirect to the page."""
    users.approve(session, moderation.find_user(session, name), actor)
    return RedirectResponse("/admin#accounts", status.HTTP_303_SEE_OTHER)


def _server_facts(session: Session, context: AppContext) -> dict[str, Any]:
    folder = context.storage.scratch
    connection = session.connection()
    return {
        "version": version("ldsboard"),
        "python": platform.python_version(),
        "database": connection.dialect.name,
        "schema": migration.revision(connection),
        "disk": shutil.disk_usage(folder) if folder.is_dir() else None,
    }
