"""Citing a result: BibTeX entry, LaTeX table row, and commands that reproduce the public LDS of the result."""

from __future__ import annotations

from datetime import date

from app.leaderboard.schemas import BenchmarkView, Numbers, RankingNumbers, SnapshotView
from app.leaderboard.stored_snapshots import SUMS
from app.management.snapshot_texts import author
from app.results.schemas import ReplicatesView, SubmissionView
from app.submissions.visibility import WITHHELD

LATEX_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        # Not \{ and \}, because BibTeX counts braces even after a backslash.
        "{": r"\textbraceleft{}",
        "}": r"\textbraceright{}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
    }
)


MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
"""The macros that every BibTeX style defines for the months."""


def latex(text: str) -> str:
    """Return `text` on one line, with escapes for all characters that are special in LaTeX or BibTeX."""
    return " ".join(text.split()).translate(LATEX_ESCAPES)


def _cited_name(submission: SubmissionView, name: str = "") -> str:
    """Return the name of a submission in a citation: `name`, or the method if `name` is empty.

    If the submission is anonymous and the method is withheld, return "entry of" and the alias of the owner instead.
    """
    is_withheld = submission.visibility == "anonymous" and submission.method == WITHHELD
    return f"entry of {submission.owner}" if is_withheld else name or submission.method


def plus_minus(numbers: Numbers | RankingNumbers | ReplicatesView) -> str:
    """Format an LDS and its standard error for LaTeX, with three decimals, or four if three would round the error to zero."""
    decimals = 3 if numbers.std_error >= 0.0005 else 4  # noqa: PLR2004
    return rf"${numbers.lds:.{decimals}f} \pm {numbers.std_error:.{decimals}f}$"


def _cited_numbers(submission: SubmissionView, numbers: Numbers | RankingNumbers) -> tuple[str, str]:
    """Return the cited LDS with its standard error, and the words after it: the mean over replicates if there are any."""
    mean = submission.replicates
    if mean is None:
        return plus_minus(numbers), ""
    return plus_minus(mean), f", mean of {len(mean.ids)} replicates with standard deviation {mean.spread:.4f}"


def _subsets(submission: SubmissionView, benchmark: BenchmarkView) -> str:
    """Return the words for the subsets that the cited LDS is on."""
    if submission.hidden and benchmark.all_subsets_rank:
        return f"all {benchmark.subset_count} subsets"
    return "the ranking subsets" if submission.hidden else "the public subsets"


def table_row(submission: SubmissionView, benchmark: BenchmarkView, numbers: Numbers | RankingNumbers) -> str:
    """Return a row of a LaTeX table: the name of the submission, its LDS or the mean over its replicates, and the standard error.

    A LaTeX comment in the row says which subsets the LDS is on, and names the versions of benchmark and scorer.
    """
    about = f"{submission.benchmark.name} version {submission.benchmark.version}, scorer version {submission.scorer_version}"
    value, replicates = _cited_numbers(submission, numbers)
    subsets = _subsets(submission, benchmark)
    return rf"{latex(_cited_name(submission))} & {value} \\ % LDS on {subsets} of {about}{replicates}"


def bibtex(
    submission: SubmissionView, benchmark: BenchmarkView, numbers: Numbers | RankingNumbers, address: str
) -> str:
    """Return a BibTeX entry for a result, with the versions of benchmark and scorer."""
    value, replicates = _cited_numbers(submission, numbers)
    fields = {
        "author": f"{{{latex(submission.owner)}}}",
        "title": f"{{{latex(_cited_name(submission, submission.title))} on {latex(benchmark.title)}}}",
        **_date(submission.created_at),
        "howpublished": "LDSBoard",
        "url": address,
        "version": str(benchmark.version),
        "note": f"Linear datamodeling score {value} (standard error) on {_subsets(submission, benchmark)} of "
        f"{latex(benchmark.name)}, version {benchmark.version}{replicates}; scorer version {submission.scorer_version}",
    }
    return _entry(f"ldsboard-{submission.id}", fields)


def snapshot_bibtex(snapshot: SnapshotView) -> str:
    """Return a BibTeX entry for a snapshot, with the hash of ``SHA256SUMS``, which fixes every byte of the snapshot."""
    board = f"{snapshot.benchmark} version {snapshot.version}"
    digest = next(file.sha256 for file in snapshot.files if file.name == SUMS)
    fields = {
        "author": f"{{{latex(author(snapshot.address))}}}",
        "title": f"{{{latex(snapshot.title)}: leaderboard of {board} on {snapshot.date}}}",
        **_date(date.fromisoformat(snapshot.date)),
        "howpublished": "LDSBoard",
        "url": snapshot.address,
        "version": str(snapshot.version),
        "note": rf"SHA-256 of SHA256SUMS: \texttt{{{digest}}}",
    }
    return _entry(f"ldsboard-{snapshot.benchmark}-{snapshot.version}-{snapshot.date}", fields)


def _date(day: date) -> dict[str, str]:
    """Return the fields of a BibTeX entry for a day."""
    return {"year": str(day.year), "month": MONTHS[day.month - 1]}


def _entry(key: str, fields: dict[str, str]) -> str:
    """Return a BibTeX entry of the type ``misc``; `fields` holds LaTeX texts by name, and one of `MONTHS`."""
    lines = ",\n".join(f"  {name:<12} = {text if name == 'month' else f'{{{text}}}'}" for name, text in fields.items())
    return f"@misc{{{key},\n{lines}\n}}"


def reproduction(benchmark: BenchmarkView, current: int, server: str) -> str:
    """Return shell commands that download the public part of a benchmark and compute the public LDS of ``scores.npy``.

    Parameters
    ----------
    benchmark
        The benchmark version.
    current
        Number of the benchmark's current version, the only version that ``ldsboard pull`` can download. The commands for another
        version download the arrays by HTTP.
    server
        Address of the server.
    """
    if benchmark.split == "protected" and benchmark.version == current:
        return (
            f"export LDSBOARD_SERVER={server}\n"
            f"ldsboard pull {benchmark.name}\n"
            f"ldsboard score scores.npy {benchmark.name} --json"
        )
    # `ldsboard pull` gets only the current version, and `ldsboard score` uses all subsets of an open benchmark.
    return (
        f"curl -fsSo public.npz '{server}/api/v1/benchmarks/{benchmark.name}/public.npz?version={benchmark.version}'\n"
        "python - <<'END'\n"
        "import numpy as np\n"
        "from ldsboard import lds\n"
        "\n"
        'public = np.load("public.npz")\n'
        f"rows = slice({benchmark.subsets['public']})  # the public subsets\n"
        'result = lds("scores.npy", public["masks"][rows], public["margins"][rows], packed=True)\n'
        "print(result.lds, result.std_error, result.confidence_interval)\n"
        "END"
    )
