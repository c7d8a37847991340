"""Several programs that pull one benchmark at the same time into a cold or damaged cache."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from ldsboard import cache
from ldsboard.bundle import Bundle
from ldsboard.client import Client
from tests.client.http_proxy import HttpProxy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.service import Service
    from tests.client.shell import Shell

JOBS = 4


@pytest.mark.parametrize("damage", ["none", "array", "manifest", "file", "empty"])
def test_parallel_pulls_all_succeed(shell: Shell, service: Service, tmp_path: Path, damage: str) -> None:
    assert shell.environment is not None
    together = threading.Barrier(JOBS)

    def meet(_: str, path: str) -> None:
        if path.endswith((".npz", ".zip")):
            together.wait()

    with HttpProxy(service.port) as proxy, ThreadPoolExecutor(JOBS) as jobs:
        target = cache.folder(proxy.url, "toy", 1)
        if damage != "none":
            with Client(proxy.url) as client:
                client.pull("toy")
        match damage:
            case "array":
                (target / "public" / "margins.npy").write_bytes(b"damaged")
            case "manifest":
                (target / "public" / "benchmark.json").write_text("{")
            case "file":
                shutil.rmtree(target)
                target.write_text("not a folder")
            case "empty":
                shutil.rmtree(target)
                target.mkdir()
        proxy.rule = meet

        def pull(_: int) -> Path:
            with Client(proxy.url) as client:
                folder = client.pull("toy")
            Bundle.open(folder)
            return folder

        assert list(jobs.map(pull, range(JOBS))) == [target] * JOBS
        assert proxy.count("GET", "kit.zip") == JOBS + (damage != "none")
        with Client(proxy.url) as client:
            client.pull("toy")
        assert proxy.count("GET", "kit.zip") == JOBS + (damage != "none")
    assert sorted(path.name for path in target.parent.iterdir()) == [".1.lock", "1"]
    assert tmp_path in target.parents
