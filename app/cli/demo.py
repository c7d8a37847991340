"""``python -m app demo``: train and publish a benchmark, serve the site, and submit baselines with ``ldsboard submit``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer
from sqlalchemy import select

from app.accounts import tokens, users
from app.cli.common import fail, listen, open_database
from app.db.models import Benchmark
from app.management import publishing
from ldsboard.invocation import program
from ldsboard.manifest import MANIFEST, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from app.db.sessions import Database
    from app.settings import Settings

BENCHMARK = "digits-mlp"
SHIPPED = Path(__file__).parents[2] / "benchmarks"
BASELINES = ("random", "similarity", "datamodel", "grad-dot", "trak", "ek-fac")
OWNER = "baselines"
START_TIMEOUT_SECONDS = 60.0


def practice_boards() -> list[str]:
    """Return the names of the benchmarks whose ground truth is shipped."""
    return sorted(file.parents[1].name for file in SHIPPED.glob(f"*/public/{MANIFEST}"))


def has_images(board: str) -> bool:
    """Return whether the images of a shipped benchmark are shipped too, or are CIFAR-10 and the user has named a copy."""
    manifest = Manifest.read(SHIPPED / board / "public" / MANIFEST)
    named = manifest.dataset["name"] == "CIFAR-10" and bool(os.environ.get("LDSBOARD_CIFAR10"))
    return named or {"train_images.npy", "target_images.npy"} <= set(manifest.files)


class ServerStartError(Exception):
    """The server of the demo printed an error and ended before it was ready; ``status`` is the server's exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"The server ended with status {status}.")
        self.status = status


@dataclass(frozen=True)
class Demo:
    """The steps of the demo: publish the benchmarks, run the server, submit baselines and show the leaderboards."""

    settings: Settings
    database: Database
    port: int

    @property
    def address(self) -> str:
        """URL of the site."""
        return f"http://localhost:{self.port}"

    def prepare(self) -> None:
        """Train and publish `BENCHMARK`; publish the shipped practice boards. Skip what is already published."""
        with self.database.read() as session:
            published = set(session.scalars(select(Benchmark.name)))
        if BENCHMARK not in published:
            folder = self.settings.data_dir / "training" / BENCHMARK
            typer.echo(
                f"Training 2,000 models for {BENCHMARK}. If interrupted, the training continues at the next start."
            )
            _run("-m", "worker", "train", BENCHMARK, "--out", str(folder))
            self._publish(folder)
        for board in practice_boards():
            if board not in published:
                self._publish(SHIPPED / board)

    def _publish(self, folder: Path) -> None:
        with publishing.prepare(self.settings.benchmarks_dir, folder) as made, self.database.write() as session:
            publishing.publish(session, made)

    def token(self) -> str:
        """Return the token of the demo's user. The first call creates the user, with high quotas, and saves the token."""
        path = self.settings.data_dir / "demo-token"
        if not path.exists():
            with self.database.write() as session:
                user = users.add_user(session, OWNER, ranked_per_day=1000, ranked_per_version=1000)
                _, token = tokens.create(session, user)
            partial = path.with_suffix(".partial")
            partial.touch(mode=0o600)
            partial.write_text(token)
            partial.replace(path)
        return path.read_text()

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start the server in a separate process; yield the process once the server is ready, and stop it after the block.

        Raises
        ------
        ServerStartError
            The server ended before it was ready.
        RuntimeError
            The server is not ready after `START_TIMEOUT_SECONDS`.
        """
        command = [sys.executable, "-m", "app", "serve", "--port", str(self.port)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            self._wait_until_ready(server)
            yield server
        finally:
            server.terminate()
            server.wait()

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if (status := server.poll()) is not None:
                raise ServerStartError(status)
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.address}/readyz", trust_env=False).is_success:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"The server does not answer at {self.address} within {START_TIMEOUT_SECONDS:.0f} seconds.")

    def submit_baselines(self, token: str, board: str, names: Sequence[str] = BASELINES) -> None:
        """Compute the baselines in `names` that the leaderboard of `board` lacks, and submit them with ``ldsboard submit``.

        The benchmark is downloaded into the cache, and the score files are written into the data folder.
        """
        environment = {
            "LDSBOARD_SERVER": self.address,
            "LDSBOARD_TOKEN": token,
            "LDSBOARD_CACHE": str(self.settings.data_dir.absolute() / "cache"),
        }
        listed = {row["method"] for row in self.rows(board)}
        missing = [name for name in names if name not in listed]
        if missing:
            _run("-m", "ldsboard.cli", "pull", board, **environment)
        scores = self.settings.data_dir.absolute() / "scores" / board
        scores.mkdir(parents=True, exist_ok=True)
        for name in missing:
            typer.echo(f"Baseline {name} on {board}")
            file = str(scores / f"{name}.npy")
            cost = _run("-m", "worker", "baseline", name, "--benchmark", board, "--out", file, **environment)
            reported = [f"--{key}={value}" for key, value in json.loads(cost).items()]
            submit = ("-m", "ldsboard.cli", "submit", file, board, "--method", name, "--kind", "ranked", *reported)
            typer.echo(_run(*submit, **environment), nl=False)

    def rows(self, board: str = BENCHMARK) -> list[dict[str, Any]]:
        """Return the rows of a leaderboard, as the API returns them."""
        answer = httpx.get(f"{self.address}/api/v1/benchmarks/{board}/leaderboard", trust_env=False).raise_for_status()
        return list(answer.json()["rows"])

    def greet(self, token: str) -> None:
        """Print the leaderboards that have entries, and the next steps, which contain the token."""
        environment = os.environ | {"LDSBOARD_SERVER": self.address}
        for board in (BENCHMARK, *practice_boards()):
            if self.rows(board):
                command = [sys.executable, "-m", "ldsboard.cli", "leaderboard", board]
                subprocess.run(command, env=environment, check=True)
        if self.settings.counterfactual is not False and not all(row["fall"] for row in self.rows()):
            typer.echo(
                f"The server now retrains models of {BENCHMARK} without examples that the score files name. Reload the "
                "leaderboard in some minutes: it then shows how far margins fall."
            )
        scores = self.settings.data_dir / "scores" / BENCHMARK / "grad-dot.npy"
        typer.echo(f"The site is at {self.address}. To use the command line, run this in another terminal:\n")
        typer.echo(f"  export LDSBOARD_SERVER={self.address} LDSBOARD_TOKEN={token}\n")
        typer.echo(f"To submit a file (here the scores of a baseline, with the token of the user {OWNER}):\n")
        typer.echo(f"  curl -T {scores} -H 'Authorization: Bearer {token}' \\")
        typer.echo(f"    '{self.address}/api/v1/benchmarks/{BENCHMARK}/submissions?method=my-method'\n")
        again = f"{program('python')} -m app demo --all --port {self.port}"
        for board in practice_boards():
            if not self.rows(board):
                copy = "set LDSBOARD_CIFAR10 to your copy of CIFAR-10 (the board has no images), "
                way = f"stop the server, {'' if has_images(board) else copy}and run: {again}"
                typer.echo(f"The practice board {board} is empty. To submit the baselines to it, {way}")
        typer.echo("Press Ctrl-C to stop the server. The data folder is kept.")

    def write_table(self, readme: Path, board: str) -> None:
        """Write a leaderboard as a Markdown table into a file, between the markers of this leaderboard.

        Raises
        ------
        ValueError
            The file lacks a marker.
        """
        text = readme.read_text()
        start, end = markers(board)
        if start not in text or end not in text:
            raise ValueError(f"{readme} lacks the markers {start} and {end}. Add each on a line of its own.")
        before, rest = text.split(start, 1)
        after = rest.split(end, 1)[1]
        readme.write_text(f"{before}{start}\n{_table(self.rows(board))}{end}{after}")


def markers(board: str) -> tuple[str, str]:
    """Return the two HTML comments that mark the start and the end of a leaderboard in a file."""
    return f"<!-- leaderboard {board} -->", f"<!-- /leaderboard {board} -->"


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| rank | method | LDS [95 % interval] | of the ceiling | distance from chance (sd) |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row["rank"]
        rank = str(low) if low == high else f"{low}-{high}"
        share = "-" if row["of_ceiling"] is None else f"{row['of_ceiling']:.1%}"
        lines.append(
            f"| {rank} | `{row['method']}` | {row['lds']:.4f} [{row['ci'][0]:.4f}, {row['ci'][1]:.4f}] "
            f"| {share} | {row['z_random']:.3g} |"
        )
    return "\n".join(lines) + "\n"


def _run(*arguments: str, **environment: str) -> str:
    """Run Python with these arguments and return the standard output; standard error goes to the terminal.

    `environment` is added to the environment of this process. A CalledProcessError is raised if the exit status is not 0.
    """
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def demo(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    everything: Annotated[
        bool, typer.Option("--all", help="Submit the baselines to the practice boards too; takes some minutes more.")
    ] = False,
    table: Annotated[
        Path | None, typer.Option(help="Write the leaderboards into this file, then exit.", show_default=False)
    ] = None,
) -> None:
    """Publish some benchmarks, submit six baselines to the first benchmark, and serve the site until Ctrl-C.

    The demo trains the models of the first benchmark. The ground truth of the others, practice boards, is shipped. With --all,
    boards that ship no images get baselines if LDSBOARD_CIFAR10 names a copy of CIFAR-10. Steps that an earlier demo finished are
    left out. With --table, the command ends once the leaderboards are written.
    """
    listen("127.0.0.1", port).close()
    status = 0
    try:
        with open_database(RuntimeError, ValueError, creates=True) as (settings, database):
            steps = Demo(settings, database, port)
            steps.prepare()
            token = steps.token()
            with steps.serving() as server:
                others = [board for board in practice_boards() if everything and has_images(board)]
                for board in (BENCHMARK, *others):
                    steps.submit_baselines(token, board)
                    if table is not None:
                        steps.write_table(table, board)
                if table is None:
                    steps.greet(token)
                    status = server.wait()
    except ServerStartError as error:
        status = error.status  # the server has printed the reason
    except subprocess.CalledProcessError as error:
        raise fail(f"A step of the demo failed: {' '.join(error.cmd[1:])}") from None
    except KeyboardInterrupt:
        typer.echo()
    raise typer.Exit(status)
