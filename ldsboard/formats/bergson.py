"""Read the folders of scores that bergson writes: records in ``scores.bin``, described by ``info.json``.

bergson 2.5.1 writes one record for each training example. A record holds, for every target (bergson's *query*), a score and a
flag that tells whether the score was written. Only ``config.yaml`` tells the sign: if its ``higher_is_better`` is false, a low
score means that the example helps [1]_.

.. [1] https://github.com/EleutherAI/bergson/blob/main/bergson/score/score_writer.py

Legend: n training examples, N targets.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.formats.headers import unreadable
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RECORDS, DESCRIPTION, CONFIG = "scores.bin", "info.json", "config.yaml"
TYPES = {"float16": "<f2", "float32": "<f4", "float64": "<f8", "bfloat16": "<u2"}
AGAIN = "Run bergson's scoring again; it continues where it ended."


def begins(folder: Path) -> bool:
    """Return whether a folder has the two files of bergson's scores, ``scores.bin`` and ``info.json``."""
    return (folder / RECORDS).is_file() and (folder / DESCRIPTION).is_file()


def read_folder(folder: Path) -> tuple[NDArray[Any], str]:
    """Return the scores, floating point (n, N), and a sentence about their sign.

    If ``config.yaml`` has ``higher_is_better: false``, the signs of all scores are reversed, so that a high score means that the
    example helps. Without a ``config.yaml`` that tells the sign, no sign is changed. bfloat16 becomes float32.

    Raises
    ------
    ProblemError
        ``scores.unreadable``: ``info.json`` does not describe scores of whole examples.
        ``scores.truncated``: ``scores.bin`` does not have the size that follows from ``info.json``.
        ``scores.nonfinite``: scores were never written; the message counts them and names the first.
    """
    n, N, layout, is_bfloat16 = _described(folder)
    size = (folder / RECORDS).stat().st_size
    if size != n * layout.itemsize:
        expected = f"{n * layout.itemsize} bytes for {n} records of {layout.itemsize} bytes"
        raise ProblemError.mismatch("scores.truncated", expected=expected, got=f"{size} bytes", hint=AGAIN)
    records_n = np.memmap(folder / RECORDS, layout, "r", shape=(n,))
    scores_nN = np.empty((n, N), np.float32 if is_bfloat16 else layout["score_0"])
    unwritten, first = 0, None
    for j in range(N):
        missing = np.flatnonzero(~records_n[f"written_{j}"])
        unwritten += missing.size
        first = min(first or (n, N), (int(missing[0]), j)) if missing.size else first
        column_n = records_n[f"score_{j}"]
        scores_nN[:, j] = (column_n.astype("<u4") << 16).view("<f4") if is_bfloat16 else column_n
    if first is not None:
        raise ProblemError.mismatch(
            "scores.nonfinite",
            expected="scores that were all written",
            got=f"{unwritten} scores that bergson has not written, the first at (row, column) {first}",
            hint=AGAIN,
        )
    high_is_good = higher_is_better(folder / CONFIG)
    if high_is_good is None:
        return scores_nN, f"No {CONFIG} of bergson tells the sign of the scores, so the signs were not changed."
    told = f"bergson's {CONFIG} says higher_is_better: {str(high_is_good).lower()}"
    if high_is_good:
        return scores_nN, f"{told}, so the signs were not changed."
    return -scores_nN, f"{told}, so the signs of all scores were reversed."


def higher_is_better(config: Path) -> bool | None:
    """Return ``higher_is_better`` in the ``score_cfg`` of `config`; None if the file or the value is missing or ambiguous."""
    if not config.is_file():
        return None
    values: set[bool] = set()
    inside, own = -1, -1  # the indentation of score_cfg, and of its members; -1 outside
    for line in config.read_text(errors="replace").splitlines():
        indent = len(line) - len(line.lstrip(" -"))
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if inside >= 0 and indent <= inside:
            inside = own = -1
        if line.strip(" -") == "score_cfg:":
            inside, own = indent, -1
        elif inside >= 0:
            own = indent if own < 0 else own
            found = re.fullmatch(r"higher_is_better: *(true|false)", line.strip(), re.IGNORECASE)
            if found and indent == own:
                values.add(found[1].lower() == "true")
    return values.pop() if len(values) == 1 else None


def _described(folder: Path) -> tuple[int, int, np.dtype[Any], bool]:
    """Return n, N, the type of a record, and whether the scores are bfloat16, as ``info.json`` states them."""
    try:
        info = json.loads((folder / DESCRIPTION).read_text())
        n, N, stated = int(info["num_rows"]), int(info["num_scores"]), info["dtype"]
        kind = stated["formats"][0]
        formats = [TYPES.get(name, name) for name in stated["formats"]]
        layout: np.dtype[Any] = np.dtype({**stated, "formats": formats})  # type: ignore[call-overload]  # read from JSON
        is_complete = n > 0 < N and set(layout.names or ()) == {
            f"{what}_{j}" for j in range(N) for what in ("score", "written")
        }
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise unreadable(
            f"a {DESCRIPTION} that does not describe bergson's records ({str(error)[:60]})", AGAIN
        ) from None
    if info.get("attribute_tokens"):
        raise unreadable("bergson's scores of tokens", "Compute scores of whole examples: attribute_tokens: false.")
    if not is_complete or kind not in TYPES or any(layout[f"score_{j}"] != TYPES[kind] for j in range(N)):
        raise unreadable(f"a {DESCRIPTION} that does not describe one score_i and written_i for every query", AGAIN)
    return n, N, layout, kind == "bfloat16"
