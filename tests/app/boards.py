"""A leaderboard with one entry of every kind, for the tests of the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service

HOSTILE = "<script>alert(1)</script> & \"quoted\" 'title'"


def fill_board(service: Service, example: Example) -> dict[str, str]:
    """Submit good, middling, random, sign-flipped, practice and invalid scores; return the ids by name once all are final."""
    ada = service.token("ada", ranked_per_day=100, ranked_per_version=100)
    noise_nN = np.random.default_rng(7).normal(size=example.effects_nN.shape).astype(np.float32)
    files = {
        "good": example.scores(0.1),
        "middling": example.scores(2.0),
        "random": noise_nN,
        "flipped": -example.scores(1.0),
    }
    sent = {method: service.submit(ada, example.name, npy(scores), method=method) for method, scores in files.items()}
    bob = service.token("bob")
    twin = npy(files["good"])
    device = "one <b>GPU</b>"
    sent["twin"] = service.submit(
        bob, example.name, twin, method="good", title=HOSTILE, seconds="7200", models="5", device=device
    )
    sent["practice"] = service.submit(ada, example.name, npy(files["good"]), method="tried", kind="practice")
    spoiled = files["good"].copy()
    spoiled[3, 2] = np.nan
    sent["spoiled"] = service.submit(ada, example.name, npy(spoiled), method="spoiled")
    ids = {name: str(response.json()["id"]) for name, response in sent.items()}
    for submission_id in ids.values():
        service.wait_until_final(submission_id)
    return ids
