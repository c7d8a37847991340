"""A score file sent with curl is scored with exactly the numbers that the library computes."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np

from ldsboard import GroundTruth
from tests.app.benchmarks import write_benchmark

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.service import Service


def test_file_sent_with_curl_gets_results_of_library(tmp_path: Path, service: Service) -> None:
    example = write_benchmark(tmp_path, "sent-by-curl")
    scores = tmp_path / "scores.npy"
    np.save(scores, example.scores())
    published = service.run("benchmark", "publish", str(example.folder))
    expected = f"Published sent-by-curl version 1 in the data folder {service.settings.data_dir}.\n"
    assert (published.returncode, published.stdout) == (0, expected), published.stderr
    assert service.run("user", "add", "curler").returncode == 0
    token = service.run("token", "create", "curler").stdout.strip()
    assert token.startswith("ldsb_")

    address = f"{service.url}/api/v1/benchmarks/sent-by-curl/submissions?method=ours"
    command = ["curl", "-sS", "-i", "-T", str(scores), "-H", f"Authorization: Bearer {token}", address]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    headers = answer.split("\n\n")[-2].split("\n")
    assert headers[0] == "HTTP/1.1 202 Accepted"
    location = next(line.split(": ", 1)[1] for line in headers if line.lower().startswith("location: "))

    view = service.wait_until_final(location.rpartition("/")[2])
    assert view["state"] == "scored"
    measured = service.measurements(view["id"])

    bundle = example.bundle
    public = GroundTruth(bundle.masks_Mn, bundle.margins_MRN).score(scores)
    assert view["public"]["lds"] == public.lds
    assert view["public"]["std_error"] == public.std_error
    assert tuple(view["public"]["ci"]) == public.confidence_interval
    assert view["public"]["mean_p"] == public.mean_p

    hidden_part = bundle.hidden()
    hidden = GroundTruth(hidden_part.masks_Mn, hidden_part.margins_MRN).score(scores)
    assert measured["ranking"].lds == hidden.lds
    assert measured["ranking"].std_error == hidden.std_error
    assert np.frombuffer(measured["ranking"].influence).tobytes() == hidden.influence.tobytes()
    assert view["hidden"]["lds"] == round(hidden.lds, 4) != hidden.lds
    assert view["hidden"]["z_random"] == float(f"{hidden.z_random:.2g}")
