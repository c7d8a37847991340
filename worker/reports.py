"""Reports of a training, which are passed from training processes and clusters to the progress display and the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ldsboard.counts import count

if TYPE_CHECKING:
    from worker.shards import Shard


class Progress(NamedTuple):
    """A report of trained models: their number, and the sum of their accuracies."""

    models: int
    accuracy_sum: float


class Finished(NamedTuple):
    """A report that a shard is written.

    Attributes
    ----------
    start, stop
        Number of the first model, and of the last model plus 1.
    accuracy, seconds
        Mean accuracy of the models; processor time of their training, in seconds.
    where
        The machine of a cluster that trained the shard; empty for this machine.
    """

    start: int
    stop: int
    accuracy: float
    seconds: float
    where: str = ""

    @classmethod
    def of(cls, shard: Shard, where: str = "") -> Finished:
        """Return the report on a written shard."""
        return cls(shard.start, shard.stop, round(float(shard.accuracy.mean()), 4), round(shard.seconds, 3), where)


class NodeLost(NamedTuple):
    """A report that a cluster lost a node: the node's name and address, and how many nodes that can train are left."""

    node: str
    left: int

    def __str__(self) -> str:
        again = " Its unfinished shards are trained again." if self.left else ""
        return f"Lost node {self.node}: {count(self.left, 'node')} left.{again}"


class MemoryExhausted(NamedTuple):
    """A report that memory ran out, with the error message."""

    reason: str


ProcessReport = Progress | Finished | MemoryExhausted
"""What a training process reports."""

Report = Progress | Finished | NodeLost
"""What the progress display and the log show."""
