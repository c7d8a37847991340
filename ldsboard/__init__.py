"""Compute the linear datamodeling score (LDS) of data attribution scores exactly, with a standard error and a 95 % interval.

`lds` scores one array. `GroundTruth` scores many arrays against the same subsets. `compare` tests whether two results differ.
These functions raise `ProblemError`, a ValueError, for input that they cannot use. `show_config` prints how sums are computed.

`submit` sends scores to a server and returns the result, `submission` returns the result of an earlier submission, and
`leaderboard` returns the entries of a benchmark.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldsboard.core.comparison import Comparison, compare
    from ldsboard.core.kernel import show_config
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
    "show_config",
    "submission",
    "submit",
]

_MODULES = (
    "core.comparison",
    "core.kernel",
    "core.result",
    "groundtruth",
    "problems",
    "records",
    "scoring",
    "submitting",
)


def __getattr__(name: str) -> Any:
    """Return the object with a name of ``__all__``; the modules of the library are imported when the first such name is used.

    The imports take half a second. Because they happen so late, the programs ``ldsboard`` and ``ldsboard.ci`` can set up their
    handling of Ctrl-C before the imports.
    """
    if name in __all__:
        for module in _MODULES:
            found = vars(import_module(f"ldsboard.{module}"))
            globals().update({public: found[public] for public in __all__ if public in found})
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
