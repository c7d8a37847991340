"""The guides to published ground truth, run on small files of the same form, end in the number that the library prints.

Legend: M subsets, n training examples, N targets, m examples of a subset.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from tests.app.commands import run_in_process
from tests.app.service import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.app.service import Service
    from tests.client.shell import Shell

GUIDE = (ROOT / "docs/how-to/published-ground-truth.md").read_text(encoding="utf-8")
M, N = 60, 12


def commands(heading: str) -> list[list[str]]:
    """Return the commands of the blocks below a heading of the guide."""
    text = GUIDE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def run(heading: str, service: Service, shell: Shell) -> tuple[str, float]:
    """Run the commands of a guide; return the summary of the import, and the LDS."""
    importing, pull, score = commands(heading)
    assert (importing[:3], pull[0], score[0]) == (["python", "-m", "app"], "ldsboard", "ldsboard")
    imported = run_in_process(service, *importing[3:])
    assert imported.exit_code == 0, imported.stderr
    assert shell(*pull[1:]).code == 0
    scored = shell(*score[1:], "--json")
    assert scored.code == 0, scored.err
    return imported.stdout, float(scored.json["lds"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mean_correlation(
    scores_nN: NDArray[np.float32], masks_Mn: NDArray[np.bool_], values_MN: NDArray[np.float32]
) -> float:
    """Return the mean of the correlations over targets, as both libraries compute it."""
    predictions_MN = masks_Mn.astype(np.float64) @ scores_nN.astype(np.float64)
    return float(np.mean([spearmanr(predictions_MN[:, j], values_MN[:, j]).statistic for j in range(N)]))


def test_guide_to_trak_ends_in_the_number_of_the_notebook(service: Service, shell: Shell, folder: Path) -> None:
    n, rng = 500, np.random.default_rng(0)
    masks_Mn = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
    scores_nN = rng.normal(size=(n, N)).astype(np.float32)
    margins_MN = (masks_Mn @ scores_nN + 20 * rng.normal(size=(M, N))).astype(np.float32)
    np.save("mask.npy", masks_Mn)
    np.save("val_margins.npy", margins_MN)
    (folder / "trak_results/scores").mkdir(parents=True)
    written = np.lib.format.open_memmap("trak_results/scores/quickstart.mmap", "w+", np.float32, (n, N))
    written[:] = scores_nN
    written.flush()
    summary, lds = run("CIFAR-10 of TRAK", service, shell)
    assert f"{n} training examples; {n // 2} in each subset.\n{N} targets, output function margin" in summary
    assert lds == pytest.approx(mean_correlation(scores_nN, masks_Mn, margins_MN), abs=1e-12)
    assert lds > 0.2


def test_guide_to_dattri_ends_in_the_mean_of_its_metric(service: Service, shell: Shell, folder: Path) -> None:
    n, rng = 5000, np.random.default_rng(1)
    indices_Mm = np.sort(np.stack([rng.permutation(n)[: n // 2] for _ in range(M)]), axis=1)
    masks_Mn = np.zeros((M, n), bool)
    np.put_along_axis(masks_Mn, indices_Mm, True, axis=1)
    scores_nN = rng.normal(size=(n, N)).astype(np.float32)
    losses_MN = (-(masks_Mn @ scores_nN) + 60 * rng.normal(size=(M, N))).astype(np.float32)
    torch.save(torch.from_numpy(indices_Mm), folder / "indices_lds.pt")
    torch.save(torch.from_numpy(-losses_MN), "target_values_lds.pt")
    torch.save(torch.from_numpy(scores_nN), "scores.pt")
    summary, lds = run("CIFAR-2 of dattri", service, shell)
    assert f"5,000 training examples; 2,500 in each subset.\n{N} targets, output function negative_loss" in summary
    assert lds == pytest.approx(mean_correlation(scores_nN, masks_Mn, -losses_MN), abs=1e-12)
    assert lds > 0.2
