"""Ground truth of other projects is imported as a benchmark, and submissions to that benchmark are scored.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from ldsboard import GroundTruth
from ldsboard.bundle import Bundle
from ldsboard.cli import cli as ldsboard
from tests.app.commands import run_in_process
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.service import Service

M, n, N = 150, 30, 4
rng = np.random.default_rng(2)
EFFECTS = rng.normal(size=(n, N)).astype(np.float32)
MASKS = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
MARGINS = (MASKS @ EFFECTS + 2 * rng.normal(size=(M, N))).astype(np.float16)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Command options for mask.npy and val_margins.npy as TRAK publishes them."""
    np.save(tmp_path / "mask.npy", MASKS)
    np.save(tmp_path / "val_margins.npy", MARGINS)
    return ["--masks", str(tmp_path / "mask.npy"), "--margins", str(tmp_path / "val_margins.npy")]


def test_imported_benchmark_scores_as_in_the_library(service: Service, token: str, files: list[str]) -> None:
    made = service.run("benchmark", "import", "cifar2", *files)
    assert made.returncode == 0, made.stderr
    assert "30 public subsets and 120 ranking subsets (rows 30 to 149).\n" in made.stdout
    assert made.stdout.endswith("Published cifar2 version 1 as a practice board.\n")
    view = service.submit_and_score(token, "cifar2", npy(EFFECTS))
    parts = {"public": slice(0, 30), "ranking": slice(30, 150)}
    offline = GroundTruth(MASKS, MARGINS).score(EFFECTS, parts)
    assert view["hidden"]["lds"] == offline["ranking"].lds > 0.5
    assert view["hidden"]["std_error"] == offline["ranking"].std_error
    assert view["public"]["lds"] == offline["public"].lds
    measured = service.measurements(view["id"])
    for part, result in offline.items():
        assert measured[part].influence == result.influence.tobytes()
        assert measured[part].per_target == result.per_target.tobytes()


def test_benchmark_with_one_run_shows_no_ceiling(
    service: Service, token: str, files: list[str], tmp_path: Path
) -> None:
    made = run_in_process(service, "benchmark", "import", "once", *files, "--output-function", "largest_other_margin")
    assert made.exit_code == 0, made.stderr
    view = service.submit_and_score(token, "once", npy(EFFECTS))
    assert view["hidden"]["of_ceiling"] is None
    shown = service.client.get("/benchmarks/once").json()
    assert (shown["ceiling"], shown["ceiling_std_error"]) == (None, None)
    assert (shown["split"], shown["output_function"], shown["title"]) == ("open", "largest_other_margin", "once")
    board = service.client.get("/benchmarks/once/leaderboard").json()
    assert (board["ceiling"], board["rows"][0]["of_ceiling"]) == (None, None)
    table = service.client.get("/benchmarks/once/leaderboard", params={"format": "csv"}).text
    assert [row["of_ceiling"] for row in csv.DictReader(io.StringIO(table))] == [""]
    pages = {
        path: service.client.get(f"{service.url}{path}")
        for path in ("/", *(f"/benchmarks/once{part}" for part in ("", "/about", "/submit")), view["links"]["page"])
    }
    for page in pages.values():
        assert page.status_code == 200
        assert "None" not in page.text
    assert "data-ceiling" not in pages["/benchmarks/once"].text
    assert "Unknown: the ceiling needs several runs on each subset." in pages["/benchmarks/once"].text
    assert "largest other margin" in pages["/benchmarks/once/submit"].text
    assert "kit.zip" not in pages["/benchmarks/once"].text
    assert (
        "The noise ceiling is unknown: the ceiling needs several runs on each subset."
        in pages[view["links"]["page"]].text
    )
    environment = {"LDSBOARD_SERVER": service.url, "LDSBOARD_CACHE": str(tmp_path / "cache")}
    outputs = {
        command: _ldsboard(environment, *arguments)
        for command, *arguments in (
            ("leaderboard", "leaderboard", "once"),
            ("status", "status", view["id"]),
            ("pull", "pull", "once"),
        )
    }
    assert "noise ceiling unknown" in outputs["leaderboard"]
    assert "of the ceiling" not in outputs["status"]
    assert Bundle.open(Path(outputs["pull"].strip()).parent).manifest.ceiling is None


def _ldsboard(environment: dict[str, str], *arguments: str) -> str:
    done = CliRunner().invoke(ldsboard, arguments, env=environment, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_import_options_reach_the_benchmark(service: Service, token: str, tmp_path: Path) -> None:
    """Import lists of removed indices, losses of three runs as rows, labels, and keep the benchmark folder."""
    margins_MRN = np.stack([MARGINS + rng.normal(size=(M, N)) for _ in range(3)], axis=1).astype(np.float32)
    np.savez(tmp_path / "removed.npz", *(np.flatnonzero(~mask_n) for mask_n in np.repeat(MASKS, 3, axis=0)))
    np.save(tmp_path / "losses.npy", -margins_MRN.reshape(-1, N))
    np.save(tmp_path / "train.npy", np.arange(n))
    np.save(tmp_path / "target.npy", np.arange(N))
    made = run_in_process(
        service,
        *("benchmark", "import", "whole", "--masks", str(tmp_path / "removed.npz"), "--removed"),
        *("--margins", str(tmp_path / "losses.npy"), "--losses", "--runs", "3", "--n-train", str(n)),
        *("--train-labels", str(tmp_path / "train.npy"), "--target-labels", str(tmp_path / "target.npy")),
        *("--title", "The whole", "--description", "All of it.", "--licence", "MIT", "--version", "4"),
        *("--ranking", "40-145", "--out", str(tmp_path / "kept")),
    )
    assert made.exit_code == 0, made.stderr
    shown = service.client.get("/benchmarks/whole").json()
    expected = {"title": "The whole", "description": "All of it.", "licence": "MIT", "version": 4, "runs": 3}
    assert {name: shown[name] for name in expected} == expected
    assert shown["output_function"] == "negative_loss"
    assert shown["subsets"] == {"public": 40, "ranking": 105}
    truth = GroundTruth(MASKS, margins_MRN)
    assert shown["ceiling"] == truth.noise_ceiling(slice(40, 145)).value
    view = service.submit_and_score(token, "whole", npy(EFFECTS))
    assert view["hidden"]["lds"] == truth.score(EFFECTS, {"ranking": slice(40, 145)})["ranking"].lds
    assert view["hidden"]["of_ceiling"] == view["hidden"]["lds"] / shown["ceiling"]
    archive = service.client.get("/benchmarks/whole/public.npz")
    with np.load(io.BytesIO(archive.content)) as arrays:
        assert arrays["train_labels"].tolist() == list(range(n))
        assert arrays["margins"].tobytes() == margins_MRN.tobytes()
    again = run_in_process(service, "benchmark", "publish", str(tmp_path / "kept"))
    assert "whole version 4 is published already" in again.stderr


def test_packed_masks_are_read_in_the_given_bit_order(service: Service, tmp_path: Path) -> None:
    np.save(tmp_path / "bits.npy", np.packbits(MASKS, axis=1))
    np.save(tmp_path / "margins.npy", MARGINS)
    options = ["--masks", str(tmp_path / "bits.npy"), "--margins", str(tmp_path / "margins.npy"), "--n-train", str(n)]
    refused = run_in_process(service, "benchmark", "import", "bits", *options, "--packed", "little")
    assert refused.exit_code == 2
    assert "give --packed big." in refused.stderr
    assert service.client.get("/benchmarks/bits").status_code == 404
    assert run_in_process(service, "benchmark", "import", "bits", *options, "--packed", "big").exit_code == 0
    archive = service.client.get("/benchmarks/bits/public.npz")
    with np.load(io.BytesIO(archive.content)) as arrays:
        assert arrays["masks"].tobytes() == np.packbits(MASKS, axis=1, bitorder="little").tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ranking", "143-150"], "at least 8 public and 8 ranking subsets"),
        (["--ranking", "0-149"], "Invalid ranking rows '0-149'"),
        (["--output-function", "loss"], "Invalid output function 'loss'"),
        (["--margins", "nothing.npy"], "nothing.npy"),
    ],
)
def test_failed_import_leaves_no_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], options: list[str], message: str
) -> None:
    monkeypatch.setenv("LDSBOARD_DATA_DIR", str(tmp_path / "data"))
    refused = CliRunner().invoke(cli, ["benchmark", "import", "refused", *files, *options])
    assert refused.exit_code == 2
    assert refused.stderr.startswith("Error: ")
    assert message in refused.stderr
    assert CliRunner().invoke(cli, ["benchmark", "list"]).stdout == ""
    assert not (tmp_path / "data/benchmarks").exists()
