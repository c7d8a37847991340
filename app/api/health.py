"""Health checks: liveness and readiness."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from app.db.backends import is_busy
from app.web.dependencies import ContextDep, ReadSession, StorageDep
from ldsboard.problems import ProblemError

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """Check that the server process answers."""
    return {"status": "alive"}


@router.get("/readyz")
def ready(context: ContextDep, storage: StorageDep, session: ReadSession) -> dict[str, str]:
    """Check that the database has its tables, that the place of uploaded files is there, and that files can be scored."""
    try:
        session.execute(text("SELECT 1 FROM submission LIMIT 1"))
    except (OperationalError, ProgrammingError) as error:
        if isinstance(error, OperationalError) and is_busy(error):
            raise ProblemError(
                "internal.unready", "The database does not answer.", "The operator should check LDSBOARD_DATABASE_URL."
            ) from None
        raise ProblemError(
            "internal.unready", "The database has no tables.", "The operator should run: python -m app migrate"
        ) from None
    if not storage.is_ready():
        raise ProblemError(
            "internal.unready",
            "The store of uploaded files is out of reach."
            if context.settings.bucket
            else "The folder of uploaded files is missing.",
            "The operator should check LDSBOARD_STORAGE_URL.",
        )
    if context.sandbox.is_restarting:
        raise ProblemError(
            "internal.unready",
            "No file can be scored: a scoring process or the fork server does not respond and is being replaced.",
            "Try again in 15 seconds; if the problem lasts longer, the operator should read the log of the server.",
        )
    return {"status": "ready"}
