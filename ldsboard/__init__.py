"""The linear datamodeling score (LDS): exact, vectorised, and with honest uncertainty."""

from ldsboard.comparison import Comparison, compare
from ldsboard.groundtruth import GroundTruth, lds
from ldsboard.problems import Problem, ProblemError
from ldsboard.result import Result

__all__ = ["Comparison", "GroundTruth", "Problem", "ProblemError", "Result", "compare", "lds"]
