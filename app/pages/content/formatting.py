"""How numbers and codes are written for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldsboard.result import CHANCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from app.leaderboard.schemas import Interval

UNIT = 999.5
"""From here on the next larger unit is used: three digits would become four."""

STATES = {
    "uploading": "The file is on its way.",
    "queued": "Waiting to be scored.",
    "scoring": "Being scored now.",
    "rejected": "The file cannot be scored; it was deleted.",
    "failed": "The fault is ours, and this does not count as an attempt.",
    "expired": "The upload ended early; nothing was kept.",
    "withdrawn": "Its owner took it back.",
}

SEEN_BY = {
    "public": ("everybody", "Under your name."),
    "anonymous": (
        "everybody, without your name",
        "Ranked under an alias; your name, the method, title, description, tags and where it comes from are withheld.",
    ),
    "private": ("you alone", "Not listed, and for others not there. A ranked one counts as an attempt all the same."),
}
"""Who sees a submission of each visibility, and what that means."""

PLAIN = (1e-4, 1e6)
"""Magnitudes between which scores are written without an exponent."""

SMALLEST_P = 1e-4
"""A p-value below it is written as a bound: far out in its tail no approximation holds, and nothing depends on more digits."""


def number(value: float) -> str:
    """Write a correlation or a difference of correlations, with a real minus sign."""
    return f"{value:.4f}".replace("-", "−")  # noqa: RUF001 -- the minus sign is meant


def span(interval: Interval) -> str:
    """Write an interval of correlations."""
    return f"[{number(interval[0])}, {number(interval[1])}]"


def significant(value: float) -> str:
    """Write a p-value or a distance from chance, in two significant digits."""
    rounded = f"{value:.2g}"
    return (f"{float(rounded):.0f}" if "e+" in rounded else rounded).replace("-", "−")  # noqa: RUF001 -- the minus sign is meant


def signed(value: float) -> str:
    """Write a score, whose sign matters, in four significant digits."""
    plain = value == 0 or PLAIN[0] <= abs(value) < PLAIN[1]
    text = f"{float(f'{value:.4g}'):+,.10g}" if plain else f"{value:+.2e}"
    return text.replace("-", "−")  # noqa: RUF001 -- the minus sign is meant


def p_value(value: float) -> str:
    """Write a p-value in two significant digits; far down, as a bound."""
    return f"<\u00a0{SMALLEST_P:.4f}" if value < SMALLEST_P else significant(value)


def short(value: float) -> str:
    """Write a coordinate in six significant digits."""
    return f"{value:.6g}".replace("-", "−")  # noqa: RUF001 -- the minus sign is meant


def rank(interval: tuple[int, int]) -> str:
    """Write a rank, or the ranks between which an entry may be."""
    low, high = interval
    return str(low) if low == high else f"{low}–{high}"  # noqa: RUF001 -- the dash of ranges is meant


def share(value: float | None) -> str:
    """Write a share of the ceiling, where there is one."""
    if value is None:
        return "–"  # noqa: RUF001 -- the dash of empty cells is meant
    return f"{100 * value:.1f}\u202f%".replace("-", "−")  # noqa: RUF001 -- the minus sign is meant


def date(moment: datetime) -> str:
    """Write a day."""
    return f"{moment:%Y-%m-%d}"


def moment(when: datetime) -> str:
    """Write a day and a time, to the minute."""
    return f"{when:%Y-%m-%d %H:%M} UTC"


def size(count_of_bytes: int) -> str:
    """Write how large a file is, in decimal units."""
    value, units = float(count_of_bytes), ["bytes", "kB", "MB", "GB"]
    while value >= UNIT and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}"


def count(value: int, singular: str, plural: str = "") -> str:
    """Write a number of things."""
    return f"{value:,} {singular if value == 1 else plural or singular + 's'}"


def chance(z: float) -> str | None:
    """Return what to say of a score that is not clearly better than chance."""
    if abs(z) < CHANCE:
        return "not distinguishable from random"
    return "sign flipped?" if z < 0 else None


def cost(reported: dict[str, Any] | None) -> str:
    """Write what a submitter says that the scores cost."""
    if not reported:
        return "not reported"
    return ", ".join(filter(None, (spent(reported) if "seconds" in reported else "", equipment(reported))))


def spent(reported: dict[str, Any] | None) -> str:
    """Write how long a submitter says that it took."""
    return _duration(reported["seconds"]) if reported and "seconds" in reported else "–"  # noqa: RUF001 -- the dash of empty cells is meant


def equipment(reported: dict[str, Any] | None) -> str:
    """Write what a submitter says that it took, beside time."""
    given = reported or {}
    models = count(given["models"], "model") if "models" in given else ""
    return ", ".join(filter(None, (models, given.get("device", ""))))


def seconds(value: float) -> str:
    """Write how long something takes, in about one digit: it is a guess."""
    return "less than a second" if value < 1 else _duration(round(value))


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def model(recipe: dict[str, Any]) -> str:
    """Write which model a recipe trains: its name, and the widths of its layers where it has them."""
    name = str(recipe.get("name", "unknown"))
    return f"{name}, {'–'.join(map(str, recipe['widths']))}" if recipe.get("widths") else name  # noqa: RUF001 -- from layer to layer


FILTERS: dict[str, Callable[..., Any]] = {
    writer.__name__: writer
    for writer in (
        number,
        span,
        significant,
        p_value,
        signed,
        short,
        rank,
        share,
        date,
        moment,
        size,
        count,
        chance,
        cost,
        seconds,
        spent,
        equipment,
        model,
    )
}
