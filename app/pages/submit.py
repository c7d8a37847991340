"""The page with the submission form, and with commands that submit a file without the form."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request

from app.accounts.daily_quotas import Daily
from app.db.models import Visibility
from app.leaderboard.views import benchmark_view
from app.pages.content.templates import render
from app.pages.routing import Pages
from app.web.dependencies import ContextDep, CurrentVersionDep, ReadSession
from app.web.oauth import ProvidersDep
from app.web.sessions import SignedInUser

router = Pages()

WORKFLOW = (Path(__file__).parents[2] / "templates/ci/github.yml").read_text(encoding="utf-8")


@router.get("/benchmarks/{name}/submit")
def show_submit(
    request: Request,
    context: ContextDep,
    session: ReadSession,
    visitor: SignedInUser,
    providers: ProvidersDep,
    version: CurrentVersionDep,
) -> str:
    """Show the submission form for the current version of a benchmark."""
    return render(
        "submit.html",
        benchmark=benchmark_view(session, version),
        max_bytes=context.settings.max_upload_bytes,
        visitor=visitor,
        form=request.session.get("form"),
        quota=None if visitor is None else context.quotas.remaining(session, visitor.id, version),
        practice=None if visitor is None else context.quotas.daily.use(session, visitor.id, Daily.PRACTICE),
        can_sign_in=bool(providers.labels),
        visibilities=list(Visibility),
        public_url=context.settings.public_url,
        workflow=_workflow(version.benchmark.name, context.settings.public_url, visitor.name if visitor else None),
    )


def _workflow(benchmark: str, server: str, owner: str | None) -> str:
    """Return `WORKFLOW`, the workflow for GitHub, after filling in the benchmark, the server's address and the owner's name.

    If `owner` is None, the placeholder for the owner stays.
    """
    filled = WORKFLOW.replace("fashion5k-mlp", benchmark).replace("https://ldsboard.example", server)
    return filled.replace("owner: YOU", f'owner: "{owner}"') if owner else filled
