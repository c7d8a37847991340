"""The linear datamodeling score (LDS): exact, vectorised, and with honest uncertainty."""

from ldsboard.comparison import Comparison, compare
from ldsboard.groundtruth import GroundTruth
from ldsboard.problems import Problem, ProblemError
from ldsboard.result import Result
from ldsboard.scoring import lds

__all__ = ["Comparison", "GroundTruth", "Problem", "ProblemError", "Result", "compare", "lds"]
