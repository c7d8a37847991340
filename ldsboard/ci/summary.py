"""The texts of a report: a summary in Markdown, and one annotation.

The texts of the server and of the inputs are not trusted: in the summary they are escaped.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldsboard.ci.outcome import PUBLIC_ONLY
from ldsboard.commands import exits
from ldsboard.core.replicates import in_words
from ldsboard.core.result import WARNINGS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from ldsboard.ci.outcome import Outcome

NOT_COMPARED = "It is not compared with an earlier submission."

TITLES = {
    "scored": "LDS {lds}",
    PUBLIC_ONLY: "LDS {lds} on the public subsets only",
    "gate-not-met": "LDS {lds}: a gate is not met",
    "rejected": "The score file was rejected",
    "not-allowed": "The submission is not allowed",
    "quota": "The quota is used up",
    "failed": "The evaluation has failed",
    "timed-out": "The result is not there yet",
    "unreachable": "The server could not be reached",
    "usage-error": "The job is not set up correctly",
    "interrupted": "The job was cancelled",
}
"""Title of the report for each status."""


@dataclass(frozen=True)
class Annotation:
    """A message that the CI shows beside the run.

    Attributes
    ----------
    level
        ``notice``, ``warning`` or ``error``.
    file
        Path of the file that the message is about; None if it is about no file.
    """

    level: Literal["notice", "warning", "error"]
    title: str
    message: str
    file: str | None = None


def annotation(outcome: Outcome, file: str, *, fails: bool) -> Annotation:
    """Return the annotation of an outcome; `fails` says whether an error fails the job, `file` is the path of the score file."""
    title = title_of(outcome)
    if outcome.code == exits.REJECTED:
        return Annotation("error", title, outcome.message, file)
    lines = [outcome.message, result_line(outcome)] + ([outcome.note, NOT_COMPARED] if outcome.is_offline else [])
    message = "\n".join(filter(None, lines))
    if outcome.code:
        return Annotation("error" if fails else "warning", title, message)
    return Annotation("warning" if outcome.is_offline else "notice", title, message)


def title_of(outcome: Outcome) -> str:
    """Return the title of the report on an outcome."""
    lds = outcome.numbers.get("lds")
    return TITLES.get(outcome.status, "An unexpected error").format(lds="unknown" if lds is None else f"{lds:.4f}")


def result_line(outcome: Outcome) -> str:
    """Return LDS, 95 % interval, rank and difference from the baseline in one line of plain text; empty without an LDS."""
    if outcome.part is None:
        return ""
    low, high = outcome.numbers["ci"]
    rank = f", rank {outcome.rank}" if outcome.rank else ""
    line = f"LDS {outcome.numbers['lds']:.4f} [{low:.4f}, {high:.4f}] on the {outcome.part} subsets{rank}"
    if found := outcome.difference:
        line += f"; {_format_difference(found)} from {found['baseline']} ({found['part']} subsets)"
    return f"{line}."


def summary(outcome: Outcome, *, method: str, benchmark: str, server: str) -> str:
    """Return the report in Markdown.

    Parameters
    ----------
    outcome
        What came of the job.
    method, benchmark, server
        Names of the method and the benchmark, and the address of the server.
    """
    parts = [f"### {escape(title_of(outcome))}", f"{escape(method)} on {escape(benchmark)}"]
    if outcome.part is not None:
        parts.append(_table(outcome, server))
    if outcome.submission is not None:
        address = outcome.url(server)
        parts.append(f"[Submission {escape(outcome.submission['id'])}]({_link(address)}){_origin(outcome.submission)}")
    if outcome.is_offline:
        parts.append(f"{outcome.note} {NOT_COMPARED}")
    parts += [f"- {line}" for line in _gate_lines(outcome)]
    warnings = (outcome.submission or outcome.numbers).get("warnings") or []
    parts += [f"- Warning: {escape(WARNINGS.get(code, code))}" for code in warnings]
    if outcome.message:
        parts.append(f"<pre>{html.escape(outcome.message)}</pre>")
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def escape(text: object) -> str:
    """Return a text on one line, in which the special characters of Markdown and HTML are escaped.

    A number at the beginning, such as ``1.``, is escaped too, because it would begin a list. Addresses and mentions get a
    zero-width space, because GitHub makes links of addresses and mentions even if these are escaped.
    """
    line = html.escape(" ".join(str(text).split()), quote=False)
    line = re.sub(r"([\\`*_{}\[\]()#|~$+-])", r"\\\1", line)
    return re.sub(r"(@|:(?=//)|www(?=\.))", r"\1&#8203;", re.sub(r"^(\d+)\.", r"\1\.", line), flags=re.IGNORECASE)


def _table(outcome: Outcome, server: str) -> str:
    low, high = outcome.numbers["ci"]
    row = {
        "LDS": f"{outcome.numbers['lds']:.4f}",
        "95 % interval": f"[{low:.4f}, {high:.4f}]",
        "subsets": str(outcome.part),
        "rank": outcome.rank or "none",
    }
    if found := outcome.difference:
        address = f"{server.rstrip('/')}/submissions/{found['baseline']}"
        link = f"[{escape(found['baseline'])}]({_link(address)})"
        row["difference"] = f"{_format_difference(found)} from {link} ({found['part']} subsets)"
    head, rule = " | ".join(row), " | ".join("---" for _ in row)
    return f"| {head} |\n| {rule} |\n| {' | '.join(row.values())} |"


def _gate_lines(outcome: Outcome) -> list[str]:
    lines = []
    if gate := outcome.gates.get("min-lds"):
        lines.append(
            f"min-lds {gate['required']:g} on the {gate['part']} subsets: {'met' if gate['met'] else '**not met**'}"
        )
    if gate := outcome.gates.get("no-regress-from"):
        if gate["baseline"] is None:
            lines.append("no baseline: the default branch has no earlier submission of this method")
        elif not gate["met"]:
            lines.append(f"no-regress-from on the {gate['part']} subsets, tolerance {gate['tolerance']:g}: **not met**")
    return lines


def _format_difference(found: Mapping[str, Any]) -> str:
    low, high = found["ci"]
    p_value = "" if found["p_value"] is None else f", p {found['p_value']:.2g}"
    return f"{found['difference']:+.4f} [{low:+.4f}, {high:+.4f}]{p_value} ({in_words(found)})"


def _origin(submission: Mapping[str, Any]) -> str:
    """Return the kind and the commit of a submission in Markdown, such as ``, ranked, commit 0123456789ab.``."""
    origin = submission.get("provenance") or {}
    commit = f", commit {escape(str(origin['commit'])[:12])}" if origin.get("commit") else ""
    return f", {escape(submission['kind'])}{commit}."


def _link(address: str) -> str:
    return re.sub(r"[\s()<>\"'|\\]", "", address)
