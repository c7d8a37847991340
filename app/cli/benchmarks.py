"""The operator's commands for benchmarks: ``python -m app benchmark …``."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from app.accounts import audit
from app.accounts.audit import OPERATOR, Action
from app.benchmarks import catalog
from app.cli.common import fail, open_database
from app.leaderboard.entries import list_entries
from app.management import publishing
from ldsboard import imports
from ldsboard.origins import BitOrder, Origin, read_origin

benchmark = typer.Typer(help="Publish, import and list benchmarks.", no_args_is_help=True)


@benchmark.command("publish")
def publish_benchmark(
    folder: Annotated[Path, typer.Argument(help="A folder that the worker wrote.")],
    *,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Add the images that it lacks, if you may hand them on: an .npz file, or a folder of .npy files."
        ),
    ] = None,
) -> None:
    """Publish a benchmark folder as the current version."""
    settings, database = open_database()
    try:
        with publishing.prepared(settings.benchmarks_dir, folder, images) as made, database.write() as session:
            version = publishing.publish(session, made)
            audit.record_action(
                session, OPERATOR, Action.BENCHMARK_PUBLISHED, f"{version.benchmark.name} {version.version}"
            )
            published = f"Published {version.benchmark.name} version {version.version}."
    except (ValueError, OSError) as error:
        raise fail(error) from None
    finally:
        database.close()
    typer.echo(published)


@benchmark.command("import")
def import_benchmark(
    name: Annotated[str, typer.Argument(help="Name of the benchmark to be: lower-case letters, digits, dashes.")],
    *,
    masks: Annotated[
        Path, typer.Option(help="The subsets: 0/1 for each training example, index lists, or packed bits.")
    ],
    margins: Annotated[
        Path, typer.Option(help="What the models gave: (subsets, targets) or (subsets, runs, targets).")
    ],
    n_train: Annotated[int | None, typer.Option(min=1, help="Training examples, where the masks do not tell.")] = None,
    packed: Annotated[BitOrder | None, typer.Option(help="The masks are packed bits, in this order in a byte.")] = None,
    removed: Annotated[bool, typer.Option("--removed", help="The masks name what was left out.")] = False,
    losses: Annotated[bool, typer.Option("--losses", help="The margins are losses: negate them.")] = False,
    output_function: Annotated[
        str | None,
        typer.Option(help="What the models gave, by default margin or negative_loss.", show_default=False),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Rows of each subset, as runs of it.")] = 1,
    completed: Annotated[
        Path | None, typer.Option(help="Which rows were written: _completed.npy of datamodels.")
    ] = None,
    train_labels: Annotated[Path | None, typer.Option(help="Labels of the training examples.")] = None,
    target_labels: Annotated[Path | None, typer.Option(help="Labels of the targets.")] = None,
    ranking: Annotated[
        str | None, typer.Option(help="Rows that rank: A-B, without B. By default the last 80 %.", show_default=False)
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Shown on its page, by default the name.", show_default=False)
    ] = None,
    description: Annotated[str, typer.Option(help="A sentence or two on data, model and source.")] = "",
    licence: Annotated[str, typer.Option(help="Under which the files may be handed on.")] = "not stated",
    version: Annotated[int, typer.Option(min=1, help="Raise it to correct what was published.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Keep the benchmark folder here.")] = None,
) -> None:
    """Publish ground truth that others trained, as a practice board; see docs/importing.md."""
    origin = Origin(masks, margins, n_train, packed, removed, losses, runs, completed, train_labels, target_labels)
    about: dict[str, Any] = {"name": name, "version": version, "title": title or name, "licence": licence}
    about["description"] = description or f"Ground truth from {masks.name} and {margins.name}, trained elsewhere."
    settings, database = open_database()
    try:
        about["output_function"] = imports.output_function(origin, output_function)
        found = read_origin(origin)
        about["ranking"] = imports.ranking_rows(len(found.masks_Mn), ranking)
        with TemporaryDirectory() as elsewhere:
            folder = out or Path(elsewhere)
            manifest = imports.write_import(folder, origin, found, about)
            with publishing.prepared(settings.benchmarks_dir, folder) as made, database.write() as session:
                publishing.publish(session, made)
                audit.record_action(
                    session, OPERATOR, Action.BENCHMARK_PUBLISHED, f"{manifest.name} {manifest.version}"
                )
    except (ValueError, OSError) as error:
        raise fail(error) from None
    finally:
        database.close()
    typer.echo(imports.summary(manifest))


@benchmark.command("list")
def list_benchmarks() -> None:
    """List the published benchmarks."""
    _, database = open_database()
    with database.read() as session:
        for version in catalog.current_versions(session):
            entries = len(list_entries(session, version))
            typer.echo(
                f"{version.benchmark.name} version {version.version}, {version.manifest['split']}, {entries} entries"
            )
    database.close()
