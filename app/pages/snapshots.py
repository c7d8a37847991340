"""The page of a snapshot of a leaderboard; its address is permanent."""

from __future__ import annotations

from app.leaderboard.stored_snapshots import ROWS
from app.pages.content import citations
from app.pages.content.templates import render
from app.pages.routing import Pages
from app.web.dependencies import SnapshotDep
from ldsboard.manifest import MANIFEST

router = Pages()


@router.get("/benchmarks/{name}/versions/{number}/{day}")
def show_snapshot(snapshot: SnapshotDep) -> str:
    """Show the leaderboard as it was on a day, with its files and how to cite it."""
    view = snapshot.view()
    # The page reads dictionaries instead of a response model: later releases may add fields, which this snapshot lacks.
    return render(
        "snapshot.html",
        snapshot=view,
        board=snapshot.read(ROWS),
        manifest=snapshot.read(MANIFEST),
        bibtex=citations.snapshot_bibtex(view),
    )
