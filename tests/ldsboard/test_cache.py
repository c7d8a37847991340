"""Finding pulled benchmarks in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth
from ldsboard.bundle import write_bundle
from ldsboard.cache import default_server, folder, pulled
from ldsboard.manifest import BundleError
from ldsboard.subsets import draw_masks

if TYPE_CHECKING:
    from pathlib import Path

SERVER = "https://lds.example:8443/board"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path))
    monkeypatch.setenv("LDSBOARD_SERVER", SERVER + "/")
    return tmp_path


def write_pulled(version: int, server: str = SERVER) -> np.ndarray[Any, Any]:
    """Write a practice benchmark into the cache folder that ``ldsboard pull`` uses; return the margins of its public part."""
    margins_MRN = np.random.default_rng(version).normal(size=(12, 2, 3)).astype(np.float32)
    words = dict.fromkeys(("title", "description", "licence"), "none") | {"name": "toy", "output_function": "margin"}
    numbers = {"version": version, "alpha": 0.5, "public_seed": 7, "split": "open", "ranking": (4, 12)}
    empty: dict[str, Any] = {"dataset": {}, "recipe": {}, "provenance": {}}
    write_bundle(
        folder(server, "toy", version),
        {**words, **numbers, **empty},
        masks_Mn=draw_masks(7, 12, 20, 0.5),
        margins_MRN=margins_MRN,
        labels={"train": np.zeros(20, dtype=np.int64)},
    )
    return margins_MRN[:4]


def test_from_pulled_opens_newest_pulled_version(cache: Path) -> None:
    margins_MRN = [write_pulled(version) for version in (2, 10, 9)][1]
    (cache / "https_lds.example_8443_board" / "toy" / "notes").mkdir()
    (cache / "https_lds.example_8443_board" / "toy" / "11").mkdir()  # an unfinished pull
    truth = GroundTruth.from_pulled("toy")
    assert np.array_equal(truth.margins_MRN, margins_MRN)
    assert np.array_equal(truth.masks_Mn, draw_masks(7, 12, 20, 0.5)[:4])


@pytest.mark.usefixtures("cache")
def test_cache_separates_servers() -> None:
    other = "http://localhost:9"
    margins_MRN = write_pulled(3, other)
    with pytest.raises(
        BundleError, match=rf"toy of {SERVER} is not in the cache .*Fetch it first: .*ldsboard pull toy"
    ):
        pulled("toy")
    assert np.array_equal(GroundTruth.from_pulled("toy", server=other).margins_MRN, margins_MRN)
    with pytest.warns(UserWarning, match=rf"^toy was pulled from another server \(http_localhost_9\) than {SERVER}\.$"):
        truth = GroundTruth.from_pulled("toy")
    assert np.array_equal(truth.margins_MRN, margins_MRN)


def test_cache_defaults_to_localhost_and_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LDSBOARD_SERVER", raising=False)
    monkeypatch.delenv("LDSBOARD_CACHE", raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    assert default_server() == "http://localhost:8000"
    assert folder(default_server(), "toy", 1) == tmp_path / ".cache" / "ldsboard" / "http_localhost_8000" / "toy" / "1"


def test_cache_folder_ignores_trailing_slash_of_server(cache: Path) -> None:
    assert default_server() == SERVER
    assert folder(SERVER, "toy", 1) == folder(SERVER + "/", "toy", 1)
    assert folder(SERVER, "toy", 1).parents[2] == cache
