"""The texts of a snapshot for readers who have only its files: what the files hold, and how to cite the snapshot."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit


def readme(about: dict[str, Any]) -> str:
    """Return the text of ``README.txt``; `about` holds the members of ``snapshot.json``."""
    return f"""\
{_title(about)}

This folder is a copy of a public leaderboard of LDSBoard. Its files never change.
Permanent address: {about["address"]}

leaderboard.json  the entries, best first, with all fields of the API call
                  GET /api/v1/benchmarks/{about["benchmark"]}/leaderboard on {about["date"]}
leaderboard.csv   the entries as a table
per-target.npz    array ids, text (entries,): ids of the entries, in the order of leaderboard.json
                  array rho, float64 (entries, targets): Spearman's rho of each target on the public subsets, of the file
                  with this id alone, also if the entry is a mean over replicates; not rounded
benchmark.json    the manifest of the benchmark: data, recipe, subsets, noise ceiling, hashes of the public files
snapshot.json     benchmark, version, day, address, number of entries, version of the scorer, types and shapes of the
                  arrays in per-target.npz
CITATION.cff      how to cite this snapshot
SHA256SUMS        SHA-256 of all other files; check: sha256sum -c SHA256SUMS

The day is a day in UTC. Numbers from hidden subsets are rounded as on the leaderboard. Owners of anonymous entries are
shown under an alias. Entries that were withdrawn, hidden or renamed after this day are still listed here as they were.
Licence of the benchmark: {_line(about["licence"])}
"""


def citation_file(about: dict[str, Any]) -> str:
    """Return the text of ``CITATION.cff``, version 1.2.0 of the Citation File Format."""
    fields = {
        "cff-version": "1.2.0",
        "message": "If you use these numbers, please cite this snapshot, and the papers of the methods that you name.",
        "type": "dataset",
        "title": _title(about),
        "version": str(about["version"]),
        "date-released": about["date"],
        "url": about["address"],
    }
    # A JSON string without escaped characters is a YAML string in double quotes.
    lines = [f"{name}: {json.dumps(text, ensure_ascii=False)}" for name, text in fields.items()]
    return "\n".join([*lines, "authors:", f"  - name: {json.dumps(author(about['address']))}", ""])


def author(address: str) -> str:
    """Return the author that a citation names: the contributors to the server of the snapshot with this permanent address."""
    return f"Contributors to LDSBoard at {urlsplit(address).netloc}"


def _title(about: dict[str, Any]) -> str:
    return f"{_line(about['title'])}: leaderboard of {about['benchmark']} version {about['version']} on {about['date']}"


def _line(text: str) -> str:
    """Return `text` on one line, without control characters."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())
