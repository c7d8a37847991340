"""The OpenAPI description of the API."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

router = APIRouter()


@router.get("/openapi.json", include_in_schema=False)
def show_description(request: Request) -> JSONResponse:
    """Show the OpenAPI description of the API."""
    return JSONResponse(request.app.openapi())
