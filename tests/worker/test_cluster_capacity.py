"""How many shards a Ray cluster can train at once, without Ray."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from worker.cluster import _capacity
from worker.plan import ConfigurationError


def test_capacity_is_the_number_of_shards_that_have_their_gpus() -> None:
    ray = SimpleNamespace(cluster_resources=lambda: {"CPU": 8.0, "GPU": 5.0})
    assert (_capacity(ray, gpus=2), _capacity(ray, gpus=0)) == (2, 8)


@pytest.mark.parametrize(("gpus", "needed"), [(1, "1 GPU"), (2, "2 GPUs"), (0, "1 CPU")])
def test_cluster_without_the_needed_resources_is_rejected(gpus: int, needed: str) -> None:
    with pytest.raises(ConfigurationError, match=f"at least {needed}, got 0"):
        _capacity(SimpleNamespace(cluster_resources=dict), gpus)
