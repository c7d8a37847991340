"""Check that a server stays reachable under load from one machine: ``python -m tests.siege`` prints a table.

Every attack is on a real server in the embedded mode, stays on the loopback interface, and is bounded in number and time. Each
line states what was measured and its bound. The exit status is 1 if a bound does not hold.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from app.benchmarks import catalog
from tests.app import factories
from tests.app.benchmarks import write_benchmark
from tests.app.service import Service
from tests.siege import bursts, silence, uploads, views
from tests.siege.report import Report

ENTRIES, RANKING = 500, 800


def main() -> None:
    """Run all attacks and print the table."""
    report = Report()
    with TemporaryDirectory() as folder:
        example = write_benchmark(Path(folder), "bench", ranking=RANKING)
        service = Service(Path(folder) / "service")
        service.publish(example.folder)
        with service.database.write() as session:
            factories.add_entries(session, catalog.find_version(session, "bench"), ENTRIES)
        with service:
            bursts.run(service, report)
            silence.run(service, report)
        uploads.run(Path(folder), report)
        views.run(Path(folder), report, ENTRIES)
    sys.exit(not report.holds)


if __name__ == "__main__":
    main()
