"""The operator's commands for benchmarks: ``python -m app benchmark …``."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.accounts import audit
from app.accounts.audit import OPERATOR, Action
from app.benchmarks import catalog
from app.cli.common import open_database, shorten
from app.leaderboard import as_published
from app.leaderboard.entries import list_entries
from app.leaderboard.ranking import Ranker
from app.management import publishing
from app.management.publication_checks import MINIMUM
from app.scoring import reserve
from ldsboard.counts import count
from ldsboard.importing import benchmarks, sizes
from ldsboard.importing.origins import BitOrder, Origin, RowOrder
from ldsboard.importing.plausibility import check_sign, coverage_notes, label_warning
from ldsboard.importing.reading import read_origin
from ldsboard.importing.tables import RawArray

if TYPE_CHECKING:
    from app.db.sessions import Database
    from app.settings import Settings
    from ldsboard.manifest import Manifest

benchmark = typer.Typer(help="Publish, import and list benchmarks.", no_args_is_help=True)


@benchmark.command("publish")
def publish_benchmark(
    folder: Annotated[Path, typer.Argument(help="Benchmark folder that the worker wrote.")],
    *,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Images for a folder without images, if their licence allows it: an .npz file, or a folder of .npy files."
        ),
    ] = None,
) -> None:
    """Publish a benchmark folder as a new version."""
    with open_database(ValueError, OSError, creates=True) as (settings, database):
        (manifest,) = _publish(settings, database, [folder], images)
    typer.echo(f"Published {manifest.name} version {manifest.version} in the data folder {settings.data_dir}.")


def _publish(settings: Settings, database: Database, folders: list[Path], images: Path | None = None) -> list[Manifest]:
    """Publish all `folders` or, after an error, none; then rank the boards that changed, and return the manifests."""
    with publishing.prepare_all(settings.benchmarks_dir, folders, images) as made, database.write() as session:
        publishing.publish_all(session, made)
        manifests = [one.manifest for one in made]
        for manifest in manifests:
            published = f"{manifest.name} {manifest.version}"
            audit.record_action(session, OPERATOR, Action.BENCHMARK_PUBLISHED, published)
    Ranker(database).renew_all()
    return manifests


@benchmark.command("import")
def import_benchmark(
    name: Annotated[str, typer.Argument(help="Name of the new benchmark: lower-case letters, digits, dashes.")],
    *,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="File of the subsets: 0/1 for each training example, index lists, or packed bits; by default the margins' file."
        ),
    ] = None,
    margins: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of the model outputs, (subsets, targets) or (subsets, runs, targets), by default the file of the masks; "
            "or repeat the option for a file of each run."
        ),
    ] = None,
    n_train: Annotated[
        int | None, typer.Option(min=1, help="Number of training examples, if the masks do not determine it.")
    ] = None,
    packed: Annotated[
        BitOrder | None, typer.Option(help="The masks are packed bits, with this bit order in a byte.")
    ] = None,
    removed: Annotated[
        bool, typer.Option("--removed", help="The masks mark the training examples that were left out.")
    ] = False,
    losses: Annotated[bool, typer.Option("--losses", help="The margins are losses; negate them.")] = False,
    negated: Annotated[
        bool, typer.Option("--negated", help="The margins are negated, as by dattri; negate them again.")
    ] = False,
    output_function: Annotated[
        str | None,
        typer.Option(
            help="Name of the output function; by default margin, or negative_loss with --losses.", show_default=False
        ),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each subset, if each row is one run.")] = 1,
    order: Annotated[
        RowOrder | None,
        typer.Option(
            help="Order of the rows with --runs: first all runs of one subset, or first all subsets of one run. "
            "By default, the agreement of the runs decides.",
            show_default=False,
        ),
    ] = None,
    rescale: Annotated[
        bool,
        typer.Option(
            "--rescale",
            help="Shift and scale the margins of each target, which keeps their order, before float32 rounds them.",
        ),
    ] = False,
    masks_key: Annotated[str | None, typer.Option(help="Name of the subsets in a file of several tables.")] = None,
    margins_key: Annotated[
        str | None, typer.Option(help="Name of the model outputs in a file of several tables.")
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(help="Type of the numbers in a raw file without a header; for two raw files, give masks first."),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(help="Shape of the numbers in a raw file, such as 1000,500, in the order of --dtype."),
    ] = None,
    evaluations: Annotated[
        int,
        typer.Option(
            min=1,
            help="Repeated evaluations of each trained model, on the second of three axes; they are averaged.",
        ),
    ] = 1,
    completed: Annotated[
        Path | None, typer.Option(help="File that flags the finished rows: _completed.npy of a datamodels store.")
    ] = None,
    train_labels: Annotated[Path | None, typer.Option(help="Labels of the training examples.")] = None,
    target_labels: Annotated[Path | None, typer.Option(help="Labels of the targets.")] = None,
    ranking: Annotated[
        str | None,
        typer.Option(
            help="Ranking subsets as A-B: rows A to B - 1; or all. By default the last 80 %, or all of fewer than 64.",
            show_default=False,
        ),
    ] = None,
    by_size: Annotated[
        bool,
        typer.Option(
            "--by-size", help="Publish a benchmark NAME-size-S for each subset size S; a benchmark has one size."
        ),
    ] = False,
    title: Annotated[
        str | None, typer.Option(help="Title on the benchmark's page; by default the name.", show_default=False)
    ] = None,
    description: Annotated[str, typer.Option(help="One or two sentences about data, model and source.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the files.")] = "not stated",
    version: Annotated[
        int, typer.Option(min=1, help="Version of the benchmark; raise it to publish a correction.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Also write the benchmark folder to this path; with --by-size, a folder NAME-size-S for each size."
        ),
    ] = None,
) -> None:
    """Publish existing ground truth as a practice board; see docs/how-to/import-ground-truth.md."""
    files = [path for path in (masks, *(margins or ())) if path is not None]
    if not files:
        raise typer.BadParameter("Give --masks, --margins, or both.")
    if len(dtype or ()) != len(shape or ()):
        raise typer.BadParameter("Give --dtype and --shape together, both as often.")
    about: dict[str, Any] = {"name": name, "version": version, "title": title or name, "licence": licence}
    names = " and ".join(dict.fromkeys(path.name for path in files))
    about["description"] = description or f"Ground truth from {names}, trained elsewhere."
    with open_database(ValueError, OSError, creates=True) as (settings, database), TemporaryDirectory() as temporary:
        origin = Origin(
            masks=files[0],
            margins=margins[0] if margins else files[0],
            n_train=n_train,
            packed=packed,
            removed=removed,
            losses=losses,
            runs=runs,
            evaluations=evaluations,
            completed=completed,
            train_labels=train_labels,
            target_labels=target_labels,
            further_runs=tuple(margins or ())[1:],
            negated=negated,
            order=order,
            rescale=rescale,
            masks_key=masks_key,
            margins_key=margins_key,
            raw=tuple(map(RawArray.parse, dtype or (), shape or ())),
        )
        about["output_function"] = benchmarks.output_function(origin, output_function)
        found = read_origin(origin)
        check_sign(origin, found, output_function)
        warning = label_warning(origin, found)
        boards, left_out = (
            sizes.boards_by_size(origin, found, about, ranking, MINIMUM["open"])
            if by_size
            else ([sizes.only_board(origin, found, about, ranking, MINIMUM["open"])], "")
        )
        root = out or Path(temporary)
        # Publishing validates the name; until then, a name such as ../x must not select a folder outside of root.
        folders = [root / Path(board.about["name"]).name if by_size else root for board in boards]
        for folder, board in zip(folders, boards, strict=True):
            benchmarks.write_import(folder, origin, board.found, board.about)
        manifests = _publish(settings, database, folders)
    typer.echo("\n\n".join(map(benchmarks.summary, manifests)))
    notes = [note for board in boards for note in (*board.found.notes, *coverage_notes(board.found))]
    for note in dict.fromkeys([*notes, left_out, warning]):
        if note:
            typer.echo(shorten(note), err=True)


@benchmark.command("list")
def list_benchmarks() -> None:
    """List the published benchmarks."""
    with open_database() as (_, database), database.read() as session:
        for version in catalog.current_versions(session):
            name, split, entries = version.benchmark.name, version.manifest["split"], list_entries(session, version)
            flagged = sum(each.check.is_flagged for each in reserve.list_checked(session, version))
            notes = [f"{flagged} flagged by the reserve"] if flagged else []
            notes += ["retired"] if version.benchmark.retired_at else []
            entries_text = count(len(entries), "entry", "entries")
            typer.echo(", ".join([f"{name} version {version.version}", split, entries_text, *notes]))


@benchmark.command("as-published")
def declare_published_values(
    name: Annotated[str, typer.Argument(help="Name of the benchmark.")],
    file: Annotated[Path, typer.Argument(help="TOML file with all values; an empty file removes all values.")],
) -> None:
    """Replace the LDS values of papers that are shown beside a board, never ranked; see docs/how-to/operate.md."""
    with open_database(ValueError, OSError) as (settings, database):
        with database.read() as session:
            found = catalog.find_version(session, name).benchmark.name
        values = as_published.parse(file.read_text(encoding="utf-8"))
        as_published.store(settings.as_published_dir, found, values)
        with database.write() as session:
            audit.record_action(session, OPERATOR, Action.BENCHMARK_AS_PUBLISHED, found, values=len(values))
    typer.echo(f"The board of {found} shows {count(len(values), 'published value')}.")
