"""The options of an import for the forms in which libraries leave ground truth, and what the import reports.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.cli.common import LONGEST_MESSAGE
from ldsboard import GroundTruth
from ldsboard.bundle import Bundle
from tests.app.commands import run_in_process

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from tests.app.service import Service

M, R, n, N = 70, 3, 24, 4
rng = np.random.default_rng(12)
MASKS = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
CLEAN = MASKS @ rng.normal(size=(n, 1, N)).transpose(1, 0, 2)[0]
MARGINS = (CLEAN[:, None] - CLEAN.mean(axis=0) + 0.5 * rng.normal(size=(M, R, N))).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and a data folder for the operator's commands."""
    monkeypatch.setenv("LDSBOARD_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    np.save("masks.npy", MASKS)
    return tmp_path / "work"


def run(*options: str) -> Result:
    return CliRunner().invoke(cli, ["benchmark", "import", "one", *options, "--out", "kept"], catch_exceptions=False)


def imported(folder: Path, *options: str) -> tuple[Bundle, str]:
    """Return the benchmark that an import with these options publishes, and what the import prints to standard error."""
    made = run(*options)
    assert made.exit_code == 0, made.stderr
    return Bundle.open(folder / "kept"), made.stderr


@pytest.mark.parametrize("given", ["found out", "said"])
def test_rows_in_the_order_of_runs(folder: Path, given: str) -> None:
    np.save("rows.npy", MARGINS.swapaxes(0, 1).reshape(-1, N))
    order = ["--order", "run"] if given == "said" else []
    bundle, notes = imported(folder, "--masks", "masks.npy", "--margins", "rows.npy", "--runs", "3", *order)
    assert np.array_equal(bundle.margins_MRN, MARGINS)
    assert bundle.manifest.provenance["order_of_rows"] == "run"
    assert notes == (
        "" if order else "The rows of rows.npy are in the order of the runs: first all subsets of one run.\n"
    )


def test_a_file_for_each_run_and_negated_margins(folder: Path) -> None:
    for run_number in range(R):
        np.save(f"seed{run_number}.npy", -MARGINS[:, run_number])
    files = [word for run_number in range(R) for word in ("--margins", f"seed{run_number}.npy")]
    bundle, notes = imported(folder, "--masks", "masks.npy", *files, "--negated")
    assert np.array_equal(bundle.margins_MRN, MARGINS)
    assert (bundle.manifest.runs, bundle.manifest.alpha, notes) == (3, 0.5, "")
    provenance = bundle.manifest.provenance
    assert list(provenance["imported"]) == ["masks", "margins", "margins_of_run_2", "margins_of_run_3"]
    assert provenance["margins_negated"] is True


@pytest.mark.parametrize("option", ["--masks", "--margins"])
def test_one_file_with_named_tables(folder: Path, option: str) -> None:
    np.savez("all.npz", subsets=MASKS, mean=MARGINS.mean(axis=1), first=MARGINS[:, 0], other=MASKS[:, :3])
    refused = run(option, "all.npz")
    assert refused.exit_code == 2
    assert "Choose with --margins-key NAME." in refused.stderr
    bundle, _ = imported(folder, option, "all.npz", "--margins-key", "first", "--masks-key", "subsets")
    assert np.array_equal(bundle.margins_MRN[:, 0], MARGINS[:, 0])
    assert np.array_equal(bundle.masks_Mn, MASKS)
    assert bundle.manifest.description == "Ground truth from all.npz, trained elsewhere."


def test_raw_files(folder: Path) -> None:
    MASKS.tofile("masks.dat")
    MARGINS.tofile("margins.mmap")
    files = ["--masks", "masks.dat", "--margins", "margins.mmap"]
    assert "margins.mmap is no text" in run(*files).stderr
    shapes = ["--dtype", "bool", "--shape", f"{M},{n}", "--dtype", "float32", "--shape", f"{M},{R},{N}"]
    bundle, _ = imported(folder, *files, *shapes)
    assert np.array_equal(bundle.masks_Mn, MASKS)
    assert np.array_equal(bundle.margins_MRN, MARGINS)
    assert run(*files, *shapes[:-2]).exit_code == 2


def test_notes_and_warnings_are_printed_after_publishing(folder: Path) -> None:
    sizes = MASKS.copy()
    sizes[5, np.flatnonzero(sizes[5])[:2]] = False
    np.save("masks.npy", np.concatenate([sizes, np.zeros((M, 7), dtype=bool)], axis=1))
    same_nN = (np.arange(n + 7) % 2)[:, None] == np.arange(N) % 2
    held = np.concatenate([sizes, np.zeros((M, 7), dtype=bool)], axis=1)
    np.save("margins.npy", MARGINS.mean(axis=1) - 0.85 * (held @ same_nN.astype(float) - 6))
    np.save("train.npy", np.arange(n + 7) % 2)
    np.save("target.npy", np.arange(N) % 2)
    labels = ["--train-labels", "train.npy", "--target-labels", "target.npy"]
    bundle, notes = imported(folder, "--masks", "masks.npy", "--margins", "margins.npy", *labels)
    assert len(bundle.masks_Mn) == M - 1
    assert notes.splitlines()[:2] == [
        "Left out because of another size than 12 examples: subset 5 of 10 examples.",
        "7 of 31 training examples are in no subset. If n is smaller, correct --n-train.",
    ]
    assert notes.splitlines()[2].startswith(
        "Warning: The subsets in masks.npy that hold more examples of a target's class"
    )


def test_values_that_look_like_losses_are_refused_and_both_remedies_work(folder: Path) -> None:
    np.save("values.npy", MARGINS - MARGINS.min())
    files = ["--masks", "masks.npy", "--margins", "values.npy"]
    refused = run(*files)
    assert refused.exit_code == 2
    assert "holds no value below 0, as losses do." in refused.stderr
    assert not (folder / "kept").exists()
    bundle, _ = imported(folder, *files, "--output-function", "probability")
    assert bundle.manifest.output_function == "probability"
    bundle, _ = imported(folder, *files, "--losses", "--version", "2")
    assert np.array_equal(bundle.margins_MRN, -(MARGINS - MARGINS.min()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Give --masks, --margins, or both"),
        (["--masks", "masks.npy", "--dtype", "bool"], "Give --dtype and --shape together"),
    ],
)
def test_incomplete_options_are_refused(folder: Path, options: list[str], message: str) -> None:
    refused = run(*options)
    assert refused.exit_code == 2
    assert message in " ".join(refused.stderr.replace("│", " ").split())
    assert list(folder.iterdir()) == [folder / "masks.npy"]


def test_no_error_is_longer_than_2000_characters(folder: Path) -> None:
    deep = folder.joinpath(*["x" * 200] * 12)
    deep.mkdir(parents=True)
    (deep / "masks.csv").write_text("a,b\n")
    refused = run("--masks", str(deep / "masks.csv"), "--margins", "masks.npy")
    assert refused.exit_code == 2
    assert LONGEST_MESSAGE < len(refused.stderr) <= 2000


def test_page_of_imported_benchmark_states_how_it_was_made(service: Service, tmp_path: Path) -> None:
    files: dict[str, Any] = {"masks": MASKS, "margins": MARGINS}
    for name, array in files.items():
        np.save(tmp_path / f"{name}.npy", array)
    options = [word for name in files for word in (f"--{name}", str(tmp_path / f"{name}.npy"))]
    made = run_in_process(service, "benchmark", "import", "stated", *options)
    assert made.exit_code == 0, made.stderr
    text = " ".join(service.client.get(f"{service.url}/benchmarks/stated/about").text.split())
    assert "70 subsets, each with 50 % of the training examples (\N{GREEK SMALL LETTER ALPHA} = 0.5)." in text
    assert "How they were drawn: not stated by the files; overlapping, as of independent draws." in text
    assert "On each subset, 3 models were trained" in text
    assert "Scores are compared cross-seed: the models behind the scores have other seeds" in text


def test_page_of_rescaled_margins_says_that_zero_has_no_meaning(service: Service, tmp_path: Path) -> None:
    np.save(tmp_path / "masks.npy", MASKS)
    for name, offset, rescale in (("usual", 0.0, []), ("rescaled", -1e8, ["--rescale"])):
        np.save(tmp_path / f"{name}.npy", MARGINS.astype(np.float64) + offset)
        options = ["--masks", str(tmp_path / "masks.npy"), "--margins", str(tmp_path / f"{name}.npy"), *rescale]
        made = run_in_process(service, "benchmark", "import", name, *options)
        assert made.exit_code == 0, made.stderr
        page = service.client.get(f"{service.url}/benchmarks/{name}/about").text
        assert ("The import shifted and scaled the margins of each target" in page) is bool(rescale)
        assert ("the correct class has more than half of the" in page) is not bool(rescale)
        assert ("of all pairs of a model and a target" in page) is not bool(rescale)


def test_lists_of_the_notebook_make_a_board_on_which_a_file_is_scored(
    service: Service, token: str, tmp_path: Path
) -> None:
    """The subsets are drawn and saved by the lines of the notebook: 20 lists of 2,500 of 5,000 examples, and 256 targets."""
    rng = np.random.default_rng(42)
    subsets = [rng.choice(range(5_000), 2_500, replace=False) for _ in range(20)]
    effects = rng.normal(size=(5_000, 256)).astype(np.float32)
    outputs = np.stack([effects[subset].sum(axis=0) for subset in subsets]) + 30 * rng.normal(size=(20, 256))
    np.save(tmp_path / "subsets.npy", subsets)
    np.save(tmp_path / "outputs.npy", outputs.astype(np.float32))
    options = [
        "--masks",
        str(tmp_path / "subsets.npy"),
        "--margins",
        str(tmp_path / "outputs.npy"),
        "--n-train",
        "5000",
    ]
    made = run_in_process(service, "benchmark", "import", "notebook", *options)
    assert made.exit_code == 0, made.stderr
    assert "20 subsets, all public and all used for the LDS of entries" in made.stdout
    scores = np.sign(effects).astype(np.float16)
    file = io.BytesIO()
    np.savez_compressed(file, scores=scores)  # the test server takes small files only
    view = service.submit_and_score(token, "notebook", file.getvalue(), method="effects")
    truth = GroundTruth(subsets, outputs.astype(np.float32), n_train=5_000)
    assert view["hidden"]["lds"] == truth.score(scores).lds > 0.5
    page = service.client.get(f"{service.url}/benchmarks/notebook").text
    assert f"{view['hidden']['lds']:.4f}" in page
    assert "effects" in page
