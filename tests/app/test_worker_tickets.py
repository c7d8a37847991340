"""What a worker does with a ticket while it cannot reach the store of score files."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from app.scoring import worker
from tests.app.event_loop import run_in_loop

if TYPE_CHECKING:
    from app.db.presence import Presence
    from app.scoring.evaluator import Evaluator


class AwayEvaluator:
    """An evaluator whose store is away until somebody says otherwise."""

    def __init__(self) -> None:
        self.storage = self
        self.away = True
        self.asked = 0
        self.jobs: list[int] = []

    def is_away(self) -> bool:
        self.asked += 1
        return self.away

    def evaluate_next(self, *_queues: Any, job: int) -> bool:
        self.jobs.append(job)
        return True


@pytest.mark.parametrize("ending", ["back", "stopped"])
def test_worker_without_the_store_keeps_its_ticket(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "AWAY_SECONDS", 0.001)
    evaluator = AwayEvaluator()
    job = cast("Any", SimpleNamespace(job=SimpleNamespace(queue="scoring", id=7)))

    async def take_ticket() -> None:
        working = worker.Worker("", cast("Evaluator", evaluator), cast("Presence", None), concurrency=1)
        scoring = asyncio.create_task(working._score(job))
        while evaluator.asked < 3:
            assert not scoring.done()
            await asyncio.sleep(0.001)
        if ending == "back":
            evaluator.away = False
        else:
            working._stop.set()
        await scoring

    run_in_loop(take_ticket())
    assert evaluator.jobs == ([7] if ending == "back" else [])
