"""The program ``python -m ldsboard.ci``: handle the signals that cancel a job, and then import and run the job."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from ldsboard.ci.cancellation import Cancellation

if __name__ == "__main__":
    # The encoding of a runner can lack characters of the texts that are printed, and strict printing would end the job.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    cancellation = Cancellation()
    cancellation.install()
    from ldsboard.ci.job import main

    sys.exit(main(cancellation=cancellation))
