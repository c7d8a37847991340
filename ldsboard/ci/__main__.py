"""The program ``python -m ldsboard.ci``: handle the signals that cancel a job, and then import and run the job."""

from __future__ import annotations

import sys

from ldsboard.ci.cancellation import Cancellation

if __name__ == "__main__":
    cancellation = Cancellation()
    cancellation.install()
    from ldsboard.ci.job import main

    sys.exit(main(cancellation=cancellation))
