"""The API guide: a shell runs its commands, in order, against a running server."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard.formats.score_files import HEADER_LIMIT
from ldsboard.problems import PROBLEMS
from tests.app.benchmarks import write_benchmark
from tests.app.commands import run_in_process
from tests.app.direct_upload import direct_service
from tests.app.service import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service
    from tests.openstack_swift import Swift

GUIDE = (ROOT / "docs/how-to/use-the-api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def printed(small_part_service: Service, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The output of each command block of the guide, run in a folder with a score file of three upload parts."""
    folder: Path = tmp_path_factory.mktemp("guide")
    example = written_example(folder)
    small_part_service.publish(example.folder)
    assert run_in_process(small_part_service, "snapshot", "fashion5k-mlp").exit_code == 0
    return run_blocks(small_part_service, folder, BLOCKS)


def written_example(folder: Path) -> Example:
    example = write_benchmark(folder, "fashion5k-mlp", n=600, N=40)
    np.save(folder / "fashion5k.npy", example.scores().astype(np.float64))
    return example


def run_blocks(service: Service, folder: Path, blocks: list[str]) -> list[str]:
    address = {"LDSBOARD_SERVER": service.url, "LDSBOARD_TOKEN": service.token("reading-the-guide")}
    command = ["bash", "-euo", "pipefail", "-c", "echo; echo ===\n".join(blocks)]
    environment = os.environ | address
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("===\n")


def test_guide_commands_run_and_their_files_are_scored(printed: list[str]) -> None:
    assert len(printed) == len(BLOCKS) == 28
    for place in (1, 12):
        shown = json.loads(printed[place])
        assert shown["state"] in {"queued", "scoring", "scored"}
    assert shown["method"] == "in-parts"
    assert shown["provenance"] == {
        "repository": "me/attribution",
        "commit": "0123abc",
        "branch": "main",
        "verified": False,
    }


def test_guide_dry_run_shows_the_file_size(printed: list[str]) -> None:
    assert json.loads(printed[2])["size"] > 2 * HEADER_LIMIT


def test_guide_check_shows_type_and_shape(printed: list[str]) -> None:
    assert json.loads(printed[3]) == {
        "benchmark": {"name": "fashion5k-mlp", "version": 1},
        "dtype": "float64",
        "shape": [600, 40],
        "transposed": False,
    }


def test_guide_repeated_call_returns_the_same_id(printed: list[str]) -> None:
    first, second = printed[5].split()
    assert first == second


def test_guide_lists_all_parts_as_received(printed: list[str]) -> None:
    assert [part["received"] for part in json.loads(printed[11])["parts"]] == [True, True, True]


def test_guide_sends_a_part_straight_to_the_store(swift: Swift, tmp_path: Path) -> None:
    with direct_service(swift, tmp_path, written_example(tmp_path)) as service:
        printed = run_blocks(service, tmp_path, BLOCKS[:13])
    assert swift.url in (tmp_path / "address.json").read_text()
    (arrived,) = [json.loads(line) for line in printed[10].splitlines() if line]
    assert arrived == json.loads(printed[11])["parts"][0]
    assert json.loads(printed[12])["state"] in {"queued", "scoring", "scored"}


def test_guide_error_codes_match_the_service() -> None:
    table = GUIDE[GUIDE.index("## What can go wrong") :]
    for statuses, codes in re.findall(r"^\| ([0-9, ]+) \| (`.*?`) \|", table, re.MULTILINE):
        for code in re.findall(r"`([a-z._]+)`", codes):
            assert code in PROBLEMS
            assert str(PROBLEMS[code].status) in statuses
    of_files = {code for code in PROBLEMS if code.startswith("scores.")}  # the guide names them together
    of_pages = {"auth.form", "auth.sign_in", "auth.deleted"}
    of_library = {"masks.invalid", "margins.invalid", "upload.changed", "proxy.refused", "proxy.busy"}
    assert set(re.findall(r"`([a-z]+\.[a-z_]+)`", table)) == set(PROBLEMS) - of_files - of_pages - of_library


def test_curl_calls_of_the_pages_show_the_message_of_the_server() -> None:
    """The option ``-f`` alone hides the message."""
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*/*.md")):
        blocks = re.findall(r"```\w*\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        for options in re.findall(r"\bcurl ((?:-[^\s]+ )+)", "\n".join(blocks)):
            assert "--fail-with-body" in options or not re.search(r"(^| )-\w*f", options), (path.name, options)


def test_guide_shows_every_api_call(service: Service) -> None:
    described = service.client.get("/openapi.json").json()["paths"]
    shown = (
        re.sub(r"\$(\w+|\([^)]*\))", "X", GUIDE.replace("| curl", "\ncurl"))
        .replace("fashion5k-mlp", "X")
        .replace("/parts/X", "/parts/Y")
    )
    for path, calls in described.items():
        wanted = re.sub(r"\{[^}]*\}", "X", path).replace("/parts/X", "/parts/Y")
        for method in calls.keys() - {"parameters"}:
            patterns = {
                "get": "curl --fail-with-body -sS",
                "put": "-T ",
                "post": "-d |--data-binary |-X POST",
                "patch": "-X PATCH",
                "delete": "-X DELETE",
            }
            commands = [
                command
                for command in re.split(r"\n(?=curl|  curl|```)", shown)
                if re.search(re.escape(wanted) + r"[\"? ]", command)
            ]
            assert any(re.search(patterns[method], command) for command in commands), f"{method} {path}"
