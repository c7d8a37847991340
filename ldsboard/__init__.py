"""Compute the linear datamodeling score (LDS) of data attribution scores exactly, with a standard error and a 95 % interval.

`lds` scores one array. `GroundTruth` scores many arrays against the same subsets. `compare` tests whether two results differ.
These functions raise `ProblemError`, a ValueError, for input that they cannot use.
"""

from ldsboard.core.comparison import Comparison, compare
from ldsboard.core.result import Result
from ldsboard.groundtruth import GroundTruth
from ldsboard.problems import Problem, ProblemError
from ldsboard.scoring import lds

__all__ = ["Comparison", "GroundTruth", "Problem", "ProblemError", "Result", "compare", "lds"]
