"""How a result is cited: in a bibliography, in a table of a paper, and by commands that give its public number again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.submissions.visibility import WITHHELD

if TYPE_CHECKING:
    from app.leaderboard.schemas import BenchmarkView, Numbers, RankingNumbers
    from app.results.schemas import SubmissionView

SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        # Not \{ and \}: BibTeX counts braces without looking at what stands before them.
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


def latex(text: str) -> str:
    """Write a text so that LaTeX and BibTeX print it, on one line, and never obey it."""
    return " ".join(text.split()).translate(SPECIAL)


def _known_as(submission: SubmissionView, name: str = "") -> str:
    """Return the method of a submission, or another name of it; an alias where its owner wants to stay unnamed."""
    unnamed = submission.visibility == "anonymous" and submission.method == WITHHELD
    return f"entry of {submission.owner}" if unnamed else name or submission.method


def plus_minus(numbers: Numbers | RankingNumbers) -> str:
    """Write a score with its standard error: three decimals, or four where three would not show the error."""
    decimals = 3 if numbers.std_error >= 0.0005 else 4  # noqa: PLR2004
    return rf"${numbers.lds:.{decimals}f} \pm {numbers.std_error:.{decimals}f}$"


def table_row(submission: SubmissionView, numbers: Numbers | RankingNumbers) -> str:
    """Return the row of a LaTeX table, with what it is the score of as a comment."""
    about = f"{submission.benchmark.name} version {submission.benchmark.version}, scorer version {submission.scorer_version}"
    part = "ranking" if submission.hidden else "public"
    return rf"{latex(_known_as(submission))} & {plus_minus(numbers)} \\ % LDS on the {part} subsets of {about}"


def bibtex(
    submission: SubmissionView, benchmark: BenchmarkView, numbers: Numbers | RankingNumbers, address: str
) -> str:
    """Return a BibTeX entry of a result, which names the benchmark's version and the scorer's."""
    part = "ranking" if submission.hidden else "public"
    fields = {
        "author": f"{{{latex(submission.owner)}}}",
        "title": f"{{{latex(_known_as(submission, submission.title))} on {latex(benchmark.title)}}}",
        "year": str(submission.created_at.year),
        "howpublished": rf"LDSBoard, \url{{{address}}}",
        "note": f"Linear datamodeling score {plus_minus(numbers)} (standard error) on the {part} subsets of "
        f"{latex(benchmark.name)}, version {benchmark.version}; scorer version {submission.scorer_version}",
    }
    lines = ",\n".join(f"  {name:<12} = {{{text}}}" for name, text in fields.items())
    return f"@misc{{ldsboard-{submission.id},\n{lines}\n}}"


def reproduction(benchmark: BenchmarkView, current: int, server: str) -> str:
    """Return shell commands that compute the public number of a score file, ``scores.npy``, offline."""
    if benchmark.split == "protected" and benchmark.version == current:
        return (
            f"export LDSBOARD_SERVER={server}\n"
            f"ldsboard pull {benchmark.name}\n"
            f"ldsboard score scores.npy {benchmark.name} --json"
        )
    # What can be pulled has no older version; and of an open benchmark it has all subsets, those that rank too.
    return (
        f"curl -fsSo public.npz '{server}/api/v1/benchmarks/{benchmark.name}/public.npz?version={benchmark.version}'\n"
        "python - <<'END'\n"
        "import numpy as np\n"
        "from ldsboard import lds\n"
        "\n"
        'public = np.load("public.npz")\n'
        f"rows = slice({benchmark.subsets['public']})  # of all subsets, the public ones\n"
        'result = lds("scores.npy", public["masks"][rows], public["margins"][rows], packed=True)\n'
        "print(result.lds, result.std_error, result.confidence_interval)\n"
        "END"
    )
