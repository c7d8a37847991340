"""Template filters, one per function, for numbers, times and reported costs; and texts for states and visibilities."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.leaderboard.schemas import HeadlineFall, Interval, Numbers, RankingNumbers
from ldsboard.core.chance import RANDOM_P, flipped_z, p_random_text
from ldsboard.core.significance import FEW_SUBSETS
from ldsboard.counts import count

CLASS_SHARE = 0.5
"""Share of a fall from which on the fall of the other targets of the class is noted beside it."""

UNIT_THRESHOLD = 999.5
"""From this value on, a size is written in the next larger unit, because rounding would give four digits."""

STATES = {
    "uploading": "The file is being uploaded.",
    "queued": "The submission is waiting to be scored.",
    "scoring": "Scoring is running.",
    "rejected": "The file could not be scored and was deleted.",
    "failed": "A server error occurred; this submission does not count as an attempt.",
    "expired": "The upload was not completed. Nothing was kept.",
    "withdrawn": "The owner withdrew the submission.",
}

VISIBLE_TO = {
    "public": ("everybody", "Shown under your name."),
    "anonymous": (
        "everybody, without your name",
        (
            "Listed under an alias. Your name, the method, title, description, tags and provenance are hidden. All your "
            "anonymous entries on one benchmark share one alias: publishing one of them later reveals the others."
        ),
    ),
    "private": (
        "only you",
        "Not listed, and only you can open the submission's page. A ranked submission still counts as an attempt.",
    ),
}
"""For each visibility: who sees the submission, and what it means for the owner."""

PLAIN_RANGE = (1e-4, 1e6)
"""Scores with a magnitude in [low, high) are written without an exponent."""

SMALLEST_P = 1e-4
"""Smaller p-values are written as "< 0.0001", because the approximation is not accurate that far in the tail."""


def number(value: float) -> str:
    """Format a correlation or a difference of correlations, with four decimals and a minus sign instead of a hyphen."""
    return f"{value:.4f}".replace("-", "−")  # noqa: RUF001 -- the minus sign is meant


def span(interval: Interval) -> str:
    """Format an interval of correlations."""
    return f"[{number(interval[0])}, {number(interval[1])}]"


def significant(value: float) -> str:
    """Format a p-value or a distance from chance, with two significant digits."""
    rounded = f"{value:.2g}"
    return (f"{float(rounded):.0f}" if "e+" in rounded else rounded).replace("-", "−")  # noqa: RUF001 -- the minus sign is meant


def signed(value: float) -> str:
    """Format a score with its sign.

    A score of 0 or with a magnitude in `PLAIN_RANGE` is rounded to four significant digits. Any other score has three significant
    digits and an exponent.
    """
    plain = value == 0 or PLAIN_RANGE[0] <= abs(value) < PLAIN_RANGE[1]
    text = f"{float(f'{value:.4g}'):+,.10g}" if plain else f"{value:+.2e}"
    return text.replace("-", "−")  # noqa: RUF001 -- the minus sign is meant


def p_value(value: float) -> str:
    """Format a p-value with two significant digits; a p-value smaller than `SMALLEST_P` becomes "< 0.0001"."""
    return f"<\u00a0{SMALLEST_P:.4f}" if value < SMALLEST_P else significant(value)


def coordinate(value: float) -> str:
    """Format a coordinate with six significant digits."""
    return f"{value:.6g}".replace("-", "−")  # noqa: RUF001 -- the minus sign is meant


def margin(value: float, digits: int = 2) -> str:
    """Format a margin, or a difference of margins, with these decimals; without the sign of a rounded zero."""
    return f"{value:z.{digits}f}".replace("-", "−")  # noqa: RUF001 -- the minus sign is meant


def margin_span(interval: tuple[float | None, float | None]) -> str:
    """Format an interval of differences of margins, with three decimals; an empty text if it is unknown."""
    low, high = interval
    return "" if low is None or high is None else f"[{margin(low, 3)}, {margin(high, 3)}]"


def margin_change(before: float, after: float) -> str:
    """Format how a margin changes, such as "falls from 4.10 to 2.30"."""
    first, last = margin(before), margin(after)
    if first == last:
        return f"stays at {first}"
    return f"{'falls' if after < before else 'rises'} from {first} to {last}"


def rank(interval: Sequence[int]) -> str:
    """Format a rank interval as one rank, or as the lowest and the highest rank if these differ."""
    low, high = interval
    return str(low) if low == high else f"{low}–{high}"  # noqa: RUF001 -- the dash of ranges is meant


def place(interval: Sequence[int] | None, in_family: bool | None) -> str:
    """Format the rank of an entry: in parentheses if the ranks of other entries do not count the entry; a dash without a rank."""
    if interval is None:
        return "–"  # noqa: RUF001 -- the dash is meant
    return f"({rank(interval)})" if in_family is False else rank(interval)


def share(value: float | None) -> str:
    """Format a share as a percentage, or as a dash if it is None."""
    if value is None:
        return "–"  # noqa: RUF001 -- the dash of empty cells is meant
    return f"{100 * value:.1f}\u202f%".replace("-", "−")  # noqa: RUF001 -- the minus sign is meant


def date(time: datetime) -> str:
    """Format a time as a date, YYYY-MM-DD."""
    return f"{time:%Y-%m-%d}"


def timestamp(time: datetime) -> str:
    """Format a time to the minute, in UTC."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def clock_time(time: datetime) -> str:
    """Format the time of day to the second, HH:MM:SS, in UTC."""
    return f"{time:%H:%M:%S}"


def size(count_of_bytes: int) -> str:
    """Format a number of bytes with three significant digits, in decimal units."""
    value, units = float(count_of_bytes), ["bytes", "kB", "MB", "GB"]
    while value >= UNIT_THRESHOLD and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}"


def chance_note(p_random: float, z_random: float, M: int, n: int) -> str | None:
    """Return a note if scores may be random, or if their LDS is so far below chance that their sign may be wrong; otherwise None.

    `M` is the number of ranking subsets, and `n` that of training examples.
    """
    if p_random > RANDOM_P:
        return "not distinguishable from random"
    return "sign flipped?" if z_random <= flipped_z(M, n) else None


def fall_notes(fall: HeadlineFall) -> list[tuple[str, bool]]:
    """Return notes on a fall that says less than it seems to, each with whether it is a warning."""
    notes = []
    if fall.p_value is not None and fall.p_value > RANDOM_P:
        notes.append(("may be random", True))
    if fall.others is not None and fall.fall > 0 and fall.others >= CLASS_SHARE * fall.fall:
        notes.append((f"others of the class fall by {margin(fall.others, 3)}", False))
    if fall.whole_class:
        notes.append((f"removes a whole class for {count(fall.whole_class, 'target')}", True))
    if fall.wrong_sign:
        notes.append((f"too few positive scores for {count(fall.wrong_sign, 'target')}", False))
    if fall.ties:
        notes.append((f"ties for {count(fall.ties, 'target')}", False))
    return notes


def chance(numbers: Numbers | RankingNumbers, M: int) -> str:
    """Format how far an LDS over M subsets is from chance: as a p-value for few subsets, otherwise in standard deviations."""
    if M >= FEW_SUBSETS:
        return f"{significant(numbers.z_random)} sd"
    return f"p-value {p_random_text(numbers.p_random, M)}".replace("e-", "e−")  # noqa: RUF001 -- the minus sign is meant


def cost(reported: dict[str, Any] | None) -> str:
    """Format the cost that the owner reported: computing time, number of models and device."""
    if not reported:
        return "not reported"
    return ", ".join(
        filter(None, (reported_time(reported) if "seconds" in reported else "", reported_resources(reported)))
    )


def reported_time(reported: dict[str, Any] | None) -> str:
    """Format the computing time that the owner reported, or return a dash if no time was reported."""
    return _duration(reported["seconds"]) if reported and "seconds" in reported else "–"  # noqa: RUF001 -- the dash of empty cells is meant


def reported_resources(reported: dict[str, Any] | None) -> str:
    """Format the number of models and the device that the owner reported; an empty text if the owner reported neither."""
    reported = reported or {}
    models = count(reported["models"], "model") if "models" in reported else ""
    return ", ".join(filter(None, (models, reported.get("device", ""))))


def seconds(value: float) -> str:
    """Format an estimated duration, given in seconds.

    The duration is rounded to whole seconds. From two minutes on, the text gives minutes or hours with three significant digits.
    """
    return "less than a second" if value < 1 else _duration(round(value))


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def model(recipe: dict[str, Any]) -> str:
    """Format the model of a recipe: its name and, if known, the widths of its layers."""
    name = str(recipe.get("name", "unknown"))
    return f"{name}, {'–'.join(map(str, recipe['widths']))}" if recipe.get("widths") else name  # noqa: RUF001 -- from layer to layer
