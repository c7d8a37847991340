"""Compute the linear datamodeling score (LDS) of data attribution scores exactly, with a standard error and a 95 % interval.

`lds` scores one array. `GroundTruth` scores many arrays against the same subsets. `compare` tests whether two results differ.
These functions raise `ProblemError`, a ValueError, for input that they cannot use.

`submit` sends scores to a server and returns the result, `submission` returns the result of an earlier submission, and
`leaderboard` returns the entries of a benchmark.
"""

from ldsboard.core.comparison import Comparison, compare
from ldsboard.core.result import Result
from ldsboard.groundtruth import GroundTruth
from ldsboard.problems import Problem, ProblemError
from ldsboard.records import leaderboard
from ldsboard.scoring import lds
from ldsboard.submitting import Submission, SubmissionError, submission, submit

__all__ = [
    "Comparison",
    "GroundTruth",
    "Problem",
    "ProblemError",
    "Result",
    "Submission",
    "SubmissionError",
    "compare",
    "lds",
    "leaderboard",
    "submission",
    "submit",
]
