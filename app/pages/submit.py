"""The page that sends a score file, and the commands that do the same elsewhere."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from app.benchmarks import catalog
from app.db.models import Visibility
from app.leaderboard.views import benchmark_view
from app.pages.content.templates import render
from app.pages.routing import Pages, PublicUrl
from app.web.dependencies import ContextDep, ReadSession
from app.web.oauth import ProvidersDep
from app.web.sessions import FormToken, SignedInUser
from ldsboard import npz, safetensors
from ldsboard.formats import HDF5, read_header
from ldsboard.headers import FORMATS, SAVE_HINT, check_dimensions
from ldsboard.problems import TITLES, ProblemError
from ldsboard.scores import check_shape

if TYPE_CHECKING:
    from collections.abc import Callable

router = Pages()


@router.page("/benchmarks/{name}/submit")
def show_submit(
    context: ContextDep,
    session: ReadSession,
    visitor: SignedInUser,
    form: FormToken,
    providers: ProvidersDep,
    public_url: PublicUrl,
    name: str,
) -> str:
    """Show the form that sends a file to the current version of a benchmark."""
    version = catalog.find_version(session, name)
    view = benchmark_view(session, version)
    limit = context.settings.max_upload_bytes
    return render(
        "submit.html",
        benchmark=view,
        wanted={"benchmark": view.name, "n": view.n_train, "N": view.n_targets, "limit": limit},
        words=_words(),
        visitor=visitor,
        form=form,
        standing=None if visitor is None else context.quotas.standing(session, visitor.id, version),
        can_sign_in=bool(providers.labels),
        visibilities=list(Visibility),
        public_url=public_url,
    )


@cache
def _words() -> dict[str, Any]:
    """Return what the browser says of a file that it refuses: the library's titles and hints, each taken where it is given."""
    objects = io.BytesIO()
    np.save(objects, np.array([None]))
    return {
        "titles": {code: TITLES[code] for code in TITLES if code.startswith(("scores.", "upload.too_large"))},
        "formats": FORMATS,
        "hints": {
            "save": SAVE_HINT,
            "npz": npz.ONE_HINT,
            "safetensors": safetensors.ONE_HINT,
            "large": "Send float32 or float16 scores.",
            "objects": _hint(lambda: read_header(objects.getvalue(), None)),
            "pickle": _hint(lambda: read_header(b"\x80\x02", None)),
            "hdf5": _hint(lambda: read_header(HDF5, None)),
            "compressed": _hint(lambda: read_header(b"BZh", None)),
            "text": _hint(lambda: read_header(b"0.5,0.1", None)),
            "table": _hint(lambda: check_dimensions(())),
            "truncated": _hint(lambda: read_header(_cut(), 0)),
            "shape": _hint(lambda: check_shape((1, 1), 2, 3)),
            "transposed": _hint(lambda: check_shape((3, 2), 2, 3)),
        },
    }


def _cut() -> bytes:
    whole = io.BytesIO()
    np.save(whole, np.zeros((1, 1)))
    return whole.getvalue()


def _hint(refuse: Callable[[], object]) -> str:
    try:
        refuse()
    except ProblemError as error:
        return error.problem.hint
    raise RuntimeError("expected a refusal, got none")
