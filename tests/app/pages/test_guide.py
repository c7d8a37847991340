"""The guide: its code makes a valid score file, and its links resolve."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import httpx
import numpy as np

from ldsboard import GroundTruth
from tests.app.service import npy

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.app.pages.conftest import Site
    from tests.app.service import Service


def _code(site: Site) -> tuple[str, str]:
    """Return the code of the guide, and the benchmark in that code."""
    (code,) = re.findall('<code data-way="numpy">(.*?)</code>', site.text("/guide"), re.DOTALL)
    code = html.unescape(code)
    (name,) = re.findall(r'np.load\("(.*?)-1-public.npz"\)', code)
    return code, name


def test_guide_code_makes_a_file_that_is_scored(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, name = _code(site)
    answer = site.service.client.get(f"/benchmarks/{name}/public.npz")
    saved = re.search('filename="(.*?)"', answer.headers["Content-Disposition"])
    assert saved is not None
    (tmp_path / saved[1]).write_bytes(answer.content)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "guide", "exec"), {})  # noqa: S102 -- a reader of the guide runs this code
    scores = np.load("scores.npy")
    view = site.api(f"/benchmarks/{name}")
    assert (scores.shape, scores.dtype) == ((view["n_train"], view["n_targets"]), np.float32)
    sent = site.service.submit_and_score(site.service.token("reader"), name, npy(scores), kind="practice")
    with np.load(saved[1]) as public:
        masks_Mn = np.unpackbits(public["masks"], axis=1, count=view["n_train"], bitorder="little").astype(bool)
        truth = GroundTruth(masks_Mn, public["margins"])
    rows = slice(0, view["subsets"]["public"])
    assert sent["public"]["lds"] == truth.score(scores, {"public": rows})["public"].lds


def test_guide_links_resolve(site: Site) -> None:
    page = site.page("/guide")
    ids = {attributes.get("id") for _, attributes in page.elements}
    for attributes in page.all("a"):
        address = attributes["href"] or ""
        if address.startswith("#"):
            assert address[1:] in ids
        else:
            response = site.browser.get(address, follow_redirects=True)
            assert response.status_code == 200, address


def test_guide_formulas_are_well_formed_mathml(site: Site) -> None:
    formulas = re.findall("<math.*?</math>", site.text("/guide"), re.DOTALL)
    assert len(formulas) > 5
    for formula in formulas:
        ET.fromstring(formula)  # noqa: S314 -- the project's own page


def test_guide_works_without_benchmarks(empty_service: Service) -> None:
    text = httpx.get(f"{empty_service.url}/guide", trust_env=False).text
    assert "NAME-1-public.npz" in text
    assert "submit the file" not in text
