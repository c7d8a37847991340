"""The leaderboard of a benchmark as flat records, which ``pandas.DataFrame`` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Record = dict[str, Any]
"""One entry: texts, numbers, bools and None by name."""

COST = ("seconds", "device", "models")
PROVENANCE = ("repository", "commit", "branch", "number", "provider", "url")


def leaderboard(name: str, *, server: str | None = None) -> list[Record]:
    """Return the entries of a leaderboard, best first, as flat records: ``pandas.DataFrame(leaderboard(name))`` is a table.

    Parameters
    ----------
    name : str
        Name of the benchmark.
    server : str, optional
        Address of the server; by default ``LDSBOARD_SERVER``, or ``http://localhost:8000``.

    Returns
    -------
    list of dict
        One record for each entry. All records have the same keys, in the same order:

        rank_low, rank_high : int or None
            The rank interval; None on a board without ranks, and if `uses_subsets` is True.
        method, title, owner : str
            Method and title of the entry, and the user who submitted it; the alias for an anonymous entry.
        lds, std_error, ci_low, ci_high : float
            LDS on the ranking subsets, its standard error, and its 95 % interval.
        replicates, spread : int, float, or None
            Number of replicates that the entry is the mean of, and the standard deviation of their LDS. The spread is None for a
            single file. Both are None if the server is too old to tell.
        of_ceiling : float or None
            LDS divided by the noise ceiling; None if the ceiling is unknown.
        z_random : float
            Distance of the LDS from the LDS of random scores, in standard deviations.
        p_random : float or None
            Two-sided p-value of the LDS for random scores; None if the server is too old to tell.
        in_family : bool or None
            Whether the ranks of other entries count this entry: of each owner only the five newest. None on a board without
            ranks, or if the server is too old to tell.
        separable_from_first : bool or None
            Whether the entry is significantly worse than the first entry; None for the first entry, on a board without ranks,
            until a changed board is ranked, or if the server is too old to tell.
        uses_subsets : bool or None
            Whether the owner declares that the method was fitted to the ranking subsets; such an entry has no rank. None if the
            server is too old to tell.
        fitted : bool or None
            Whether the LDS is higher than the runs allow, as of scores that were fitted to the ranking subsets. None if the
            server is too old to tell.
        fall, fall_std_error, fall_ci_low, fall_ci_high : float or None
            Mean fall of the margin of the targets after retraining without the 1 % of the examples with the highest scores, its
            standard error over targets, and its 95 % interval; None if the entry has no counterfactual evaluation.
        fall_rank_low, fall_rank_high : int or None
            The rank interval by the fall; None if `fall` is None, and if `uses_subsets` is True.
        attempts, possible_gain : int, float, or None
            Attempts of the owner, and the upper bound of the gain from them; None for an anonymous entry, and on a board whose
            subsets are all public.
        seconds, device, models : float, str, int, or None
            The cost that the owner reports.
        repository, commit, branch, number, provider, url, verified : str, int, bool, or None
            Where the file comes from: repository, commit, branch, number of the pull request, and page of the CI run.
            `verified` is True if the server took these values from the signed identity of a CI run. Otherwise the owner states
            the values, or nothing is known.
        tags : str
            The tags, separated by commas.
        paper, code : str or None
            Addresses of the paper and the code.
        created_at, id : str
            Time of the submission (ISO 8601), and its id.
        benchmark, version : str, int
            The benchmark.

    Raises
    ------
    ProblemError
        A ValueError: the address of the server is not valid.
    ldsboard.client.RefusedError
        The server refused the call, for instance because it has no such benchmark.
    ldsboard.client.UnreachableError
        The server gave no answer.
    """
    from ldsboard.client import Client  # noqa: PLC0415 -- the HTTP client is slow to import, and most users only score

    with Client(server) as client:
        board = client.leaderboard(name)
    return [_record(row, board) for row in board["rows"]]


def _record(row: Mapping[str, Any], board: Mapping[str, Any]) -> Record:
    """Flatten one row of a leaderboard; members that older servers lack become None."""
    cost, provenance, urls = (row.get(name) or {} for name in ("cost", "provenance", "urls"))
    return {
        "rank_low": row["rank"][0] if row["rank"] else None,
        "rank_high": row["rank"][1] if row["rank"] else None,
        **{name: row[name] for name in ("method", "title", "owner", "lds", "std_error")},
        "ci_low": row["ci"][0],
        "ci_high": row["ci"][1],
        **{name: row.get(name) for name in ("replicates", "spread")},
        **{name: row[name] for name in ("of_ceiling", "z_random")},
        **{name: row.get(name) for name in ("p_random", "in_family", "separable_from_first", "uses_subsets", "fitted")},
        **_fall(row.get("fall")),
        **{name: row[name] for name in ("attempts", "possible_gain")},
        **{name: cost.get(name) for name in COST},
        **{name: provenance.get(name) for name in PROVENANCE},
        "verified": bool(provenance.get("verified")),
        "tags": ", ".join(row["tags"]),
        "paper": urls.get("paper"),
        "code": urls.get("code"),
        "created_at": row["created_at"],
        "id": row["id"],
        "benchmark": board["benchmark"],
        "version": board["version"],
    }


def _fall(fall: Mapping[str, Any] | None) -> Record:
    """Flatten the fall of a row; every member is None without a counterfactual evaluation."""
    found = fall or {"ci": (None, None)}
    low, high = found.get("rank") or (None, None)
    return {
        "fall": found.get("fall"),
        "fall_std_error": found.get("std_error"),
        "fall_ci_low": found["ci"][0],
        "fall_ci_high": found["ci"][1],
        "fall_rank_low": low,
        "fall_rank_high": high,
    }
