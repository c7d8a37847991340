"""Health checks: liveness and readiness."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.management.readiness import Part, find_faults
from app.web.dependencies import ContextDep, ReadSession, StorageDep
from app.web.problem_responses import problem_response
from ldsboard.problems import Problem

router = APIRouter(tags=["health"])


class Readiness(BaseModel):
    """The answer of a server that is ready."""

    status: Literal["ready"] = "ready"
    parts: dict[Part, Literal["ready"]] = dict.fromkeys(Part, "ready")


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """Check that the server process answers."""
    return {"status": "alive"}


@router.get("/readyz", response_model=Readiness)
def ready(request: Request, context: ContextDep, storage: StorageDep, session: ReadSession) -> Readiness | Response:
    """Check that the database has its tables, that the folder of uploaded files exists, and that files can be scored.

    If one of these parts is not ready, the answer is the problem ``internal.unready``, whose member ``parts`` says for each part
    whether it is ``ready`` or ``unready``.
    """
    faults = find_faults(session, storage, context.sandbox)
    found = [fault for fault in faults.values() if fault is not None]
    if not found:
        return Readiness()
    detail, hint = (" ".join(texts) for texts in zip(*((fault.detail, fault.hint) for fault in found), strict=True))
    parts = {part: "ready" if fault is None else "unready" for part, fault in faults.items()}
    return problem_response(request, Problem("internal.unready", detail, hint), members={"parts": parts})
