"""``python -m tests.app.gated_worker work``: a worker that counts as dead after 2 s, and waits for a gate before it scores.

While the file that GATE names exists, each evaluation waits after its claim, unless there is also a file named by the worker's
process id. A file beside the gate tells of each claim.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from app.__main__ import main
from app.db import backends
from app.scoring import lost_evaluations, worker
from app.scoring.evaluator import Evaluator

if TYPE_CHECKING:
    from app.db.models import Evaluation

GATE = Path(os.environ["GATE"])

backends.IDLE_SECONDS = 2
worker.HEARTBEAT_SECONDS, lost_evaluations.STALLED_SECONDS = 0.2, 2.0
worker.RECOVERY_TIMES = "* * * * * *"
evaluate = Evaluator.evaluate


def wait_and_evaluate(self: Evaluator, claimed: Evaluation) -> None:
    """Wait while the gate is closed, then evaluate."""
    (GATE.parent / f"{claimed.submission_id}-{os.getpid()}").touch()
    while GATE.exists() and not (GATE.parent / str(os.getpid())).exists():
        time.sleep(0.01)
    evaluate(self, claimed)


Evaluator.evaluate = wait_and_evaluate  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
