"""The numbers that leave the server, and the rounding of numbers from hidden subsets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from app.benchmarks.catalog import has_hidden_subsets, has_ranks
from app.leaderboard.schemas import Numbers, RankingNumbers, ReserveNumbers
from ldsboard.core.ceiling import share_of_ceiling

if TYPE_CHECKING:
    from app.db.models import Benchmark, Measurement


DECIMALS = 4
"""Decimals of published numbers from hidden subsets, except z and p-values."""

DIGITS = 2
"""Significant digits of published z and p-values from hidden subsets."""


class RankingMeasurement(Protocol):
    """The unrounded numbers of a submission on the ranking subsets.

    Both the database row (`Measurement`) and the leaderboard entry (`Entry`) have these attributes.
    """

    @property
    def lds(self) -> float:
        """LDS: the mean over targets of Spearman's rho."""

    @property
    def std_error(self) -> float:
        """Standard error of the LDS over subsets."""

    @property
    def ci_low(self) -> float:
        """Lower end of the 95 % interval of the LDS."""

    @property
    def ci_high(self) -> float:
        """Upper end of the 95 % interval of the LDS."""

    @property
    def z_random(self) -> float:
        """Distance of the LDS from the mean LDS of random scores, in standard deviations of the LDS of random scores."""

    @property
    def p_random(self) -> float:
        """Two-sided p-value of the LDS under random matching of subsets and margins."""


def round_for_publication(numbers: dict[str, float], split: str) -> dict[str, float]:
    """Round numbers from the ranking subsets for publication.

    On an open benchmark nothing is hidden, and the numbers are returned unchanged. On a protected benchmark, the names in
    `numbers` decide: ``z``, ``z_random``, ``p_random``, ``p_value`` and ``mean_p`` are rounded to two significant digits, all
    other numbers to four decimals.
    """
    if split == "open":
        return numbers
    return {
        name: round_significant(value)
        if name in ("z", "z_random", "p_random", "p_value", "mean_p")
        else round(value, DECIMALS)
        for name, value in numbers.items()
    }


def round_lds(value: float, split: str) -> float:
    """Round one number for publication: to four decimals on a protected benchmark, not at all on an open benchmark.

    The number is an LDS, a difference of two LDS, a noise ceiling, or an LDS divided by the noise ceiling.
    """
    return value if split == "open" else round(value, DECIMALS)


def round_significant(value: float) -> float:
    """Round to `DIGITS` significant digits; infinities and nan are returned unchanged."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else value


def benchmark_numbers(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of a benchmark that are computed from its ranking subsets, rounded by `round_for_publication`.

    The numbers are ``ceiling``, ``ceiling_std_error``, ``null_band`` and ``attempts_spectrum``, see `ldsboard.manifest.Manifest`.
    All but ``null_band`` are None if they are unknown.
    """
    split, names = manifest["split"], ("ceiling", "ceiling_std_error", "attempts_spectrum")
    known = {name: manifest[name] for name in names if manifest[name] is not None}
    band = round_for_publication(manifest["null_band"], split)
    return dict.fromkeys(names) | round_for_publication(known, split) | {"null_band": band}


def lds_difference(a: float, b: float, split: str) -> float:
    """Return the LDS of a minus the LDS of b on the ranking subsets, computed from the published values.

    Differences of unrounded values between many entries would reveal further digits of every LDS.
    """
    return round_lds(round_lds(a, split) - round_lds(b, split), split)


def public_numbers(measurement: Measurement) -> Numbers:
    """Return the result on the public subsets at full precision."""
    return Numbers(
        lds=measurement.lds,
        std_error=measurement.std_error,
        ci=(measurement.ci_low, measurement.ci_high),
        mean_p=measurement.mean_p,
        z_random=measurement.z_random,
        p_random=measurement.p_random,
        std_error_new_targets=_known(measurement.std_error_new_targets),
    )


def ranking_numbers(
    measurement: Measurement,
    manifest: dict[str, Any],
    rank: tuple[int, int] | None,
    *,
    in_family: bool | None = None,
    separable_from_first: bool | None = None,
    uses_subsets: bool = False,
) -> RankingNumbers:
    """Return the result on the ranking subsets, rounded by `round_for_publication`.

    `rank`, `in_family` and `separable_from_first` are the stored place; None if the submission is not listed. `uses_subsets`
    tells whether the submission is declared as fitted to the ranking subsets. For a declared submission, and on a board without
    ranks, the result has no place; its field ``listed`` still tells whether `rank` was given.
    """
    ranked = has_ranks(manifest) and not uses_subsets
    error = _known(measurement.std_error_new_targets)
    return RankingNumbers(
        **ranking_fields(measurement, manifest),
        std_error_new_targets=None if error is None else round_lds(error, manifest["split"]),
        listed=rank is not None,
        rank=rank if ranked else None,
        in_family=in_family if ranked else None,
        separable_from_first=separable_from_first if ranked else None,
    )


def reserve_numbers(measurement: Measurement | None, benchmark: Benchmark) -> ReserveNumbers | None:
    """Return the result on the reserve, rounded by `round_for_publication`.

    The result is None without a measurement, and before the benchmark is retired: no number from the reserve is shown earlier.
    """
    if measurement is None or benchmark.retired_at is None:
        return None
    names = ("lds", "std_error", "ci_low", "ci_high")
    numbers = round_for_publication({name: getattr(measurement, name) for name in names}, "protected")
    ends = (numbers["ci_low"], numbers["ci_high"])
    return ReserveNumbers(lds=numbers["lds"], std_error=numbers["std_error"], ci=ends)


def _known(value: float | None) -> float | None:
    """Return a number, or None for nan."""
    return None if value is None or math.isnan(value) else value


def ranking_fields(measurement: RankingMeasurement, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a result that do not depend on the other entries of the board, rounded for publication.

    The fields, named as in `RankingNumbers`, are ``lds``, ``std_error``, ``ci``, ``of_ceiling``, ``z_random``, ``p_random`` and
    ``fitted``.
    """
    split, ceiling, share = manifest["split"], manifest["ceiling"], None
    lds, z, p = round_lds(measurement.lds, split), measurement.z_random, measurement.p_random
    if ceiling is not None:
        # The share is computed from published numbers, so that the share reveals no further digit.
        error = round_lds(manifest["ceiling_std_error"], split)
        share = share_of_ceiling(lds, round_lds(ceiling, split), error)
    return {
        "lds": lds,
        "std_error": round_lds(measurement.std_error, split),
        "ci": (round_lds(measurement.ci_low, split), round_lds(measurement.ci_high, split)),
        "of_ceiling": None if share is None else round_lds(share, split),
        "z_random": z if split == "open" else round_significant(z),
        "p_random": p if split == "open" else round_significant(p),
        "fitted": is_fitted(measurement.lds, measurement.std_error, manifest),
    }


def is_fitted(lds: float, std_error: float, manifest: dict[str, Any]) -> bool:
    """Return whether the LDS of an entry of a practice board is more than 3 standard errors above the noise ceiling.

    No function of the subset can be expected to exceed the ceiling, unless the function was fitted to the noise of these very
    models. The result is False on a protected board, and if the ceiling is unknown.
    """
    if has_hidden_subsets(manifest) or manifest["ceiling"] is None:
        return False
    error = math.hypot(std_error, manifest["ceiling_std_error"])
    return bool(lds > manifest["ceiling"] + 3 * error)
