"""The Atom feed (RFC 4287) of new entries on a leaderboard."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from xml.etree import ElementTree as ET

from app.leaderboard.schemas import BenchmarkView, Row
from app.pages.content import formatting

ATOM = "http://www.w3.org/2005/Atom"
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML does not allow, not even escaped."""


def atom(
    benchmark: BenchmarkView,
    rows: Sequence[Row],
    changed: Mapping[str, datetime],
    published_at: datetime,
    public_url: str,
) -> bytes:
    """Return the feed of a benchmark as XML, encoded in UTF-8.

    The id of a feed entry depends only on the submission id, so the id stays the same when the site moves.

    Parameters
    ----------
    rows
        Leaderboard entries, newest first.
    changed
        When each entry last changed, by submission id.
    published_at
        When the benchmark version was published. If there are no entries, the feed states this time as the last update.
    public_url
        The public address of the site.
    """
    page = f"{public_url}/benchmarks/{benchmark.name}"
    feed = ET.Element("feed", xmlns=ATOM)
    _add(feed, "title", f"{benchmark.title}: new entries")
    _add(feed, "id", f"urn:ldsboard:benchmark:{benchmark.name}")
    _add(feed, "updated", max(changed.values(), default=published_at).isoformat())
    ET.SubElement(feed, "link", rel="self", type="application/atom+xml", href=f"{page}/feed.atom")
    ET.SubElement(feed, "link", rel="alternate", type="text/html", href=page)
    for row in rows:
        entry = ET.SubElement(feed, "entry")
        title = f"{row.method} by {row.owner}" if row.title == row.method else f"{row.title} ({row.method})"
        place = f", rank {formatting.place(row.rank, row.in_family)}" if row.rank else ""
        if row.uses_subsets:
            place = ", declared: fitted to these subsets"
        mean = "" if row.spread is None else f", mean of {row.replicates}, spread {formatting.number(row.spread)}"
        summary = f"LDS {formatting.number(row.lds)} {formatting.span(row.ci)}{mean}{place}"
        _add(entry, "title", title)
        _add(entry, "id", f"urn:ldsboard:submission:{row.id}")
        _add(entry, "published", row.created_at.isoformat())
        _add(entry, "updated", changed[row.id].isoformat())
        _add(ET.SubElement(entry, "author"), "name", row.owner)
        ET.SubElement(entry, "link", rel="alternate", type="text/html", href=f"{public_url}/submissions/{row.id}")
        for tag in row.tags:
            ET.SubElement(entry, "category", term=FORBIDDEN.sub("", tag))
        _add(entry, "summary", summary)
    written: bytes = ET.tostring(feed, encoding="utf-8", xml_declaration=True)
    return written


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = FORBIDDEN.sub("", text)
