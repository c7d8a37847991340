"""Health checks: liveness and readiness."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.web.dependencies import ReadSession, StorageDep
from ldsboard.problems import ProblemError

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """Check that the server process answers."""
    return {"status": "alive"}


@router.get("/readyz")
def ready(storage: StorageDep, session: ReadSession) -> dict[str, str]:
    """Check that the database has its tables and that the folder of uploaded files exists."""
    try:
        session.execute(text("SELECT 1 FROM submission LIMIT 1"))
    except OperationalError:
        raise ProblemError(
            "internal.unready", "The database has no tables.", "The operator should run: python -m app migrate"
        ) from None
    if not storage.folder.is_dir():
        raise ProblemError(
            "internal.unready", "The folder of uploaded files is missing.", "The operator should check STORAGE_URL."
        )
    return {"status": "ready"}
