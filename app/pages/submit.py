"""The page with the submission form, and with commands that submit a file without it."""

from __future__ import annotations

from app.db.models import Visibility
from app.leaderboard.views import benchmark_view
from app.pages.content.templates import render
from app.pages.routing import Pages, PublicUrl
from app.web.dependencies import CurrentVersionDep, QuotasDep, ReadSession, SettingsDep
from app.web.oauth import ProvidersDep
from app.web.sessions import FormToken, SignedInUser

router = Pages()


@router.page("/benchmarks/{name}/submit")
def show_submit(
    settings: SettingsDep,
    quotas: QuotasDep,
    session: ReadSession,
    visitor: SignedInUser,
    form: FormToken,
    providers: ProvidersDep,
    public_url: PublicUrl,
    version: CurrentVersionDep,
) -> str:
    """Show the submission form for the current version of a benchmark."""
    view = benchmark_view(session, version)
    return render(
        "submit.html",
        benchmark=view,
        max_bytes=settings.max_upload_bytes,
        visitor=visitor,
        form=form,
        quota=None if visitor is None else quotas.remaining(session, visitor.id, version),
        can_sign_in=bool(providers.labels),
        visibilities=list(Visibility),
        public_url=public_url,
    )
