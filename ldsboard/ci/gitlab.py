"""The job reports of GitLab: variables for later jobs, a link to the submission, a test result, and a metric.

Source: https://docs.gitlab.com/ci/yaml/artifacts_reports/
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from ldsboard.ci.inputs import variable
from ldsboard.ci.summary import result_line, title_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ldsboard.ci.outcome import Outcome

FOLDER = "ldsboard-report"
"""Folder of the reports, in the folder of the job."""

CONTROL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold."""


def write_reports(folder: Path, outcome: Outcome, outputs: Mapping[str, str], *, method: str, benchmark: str) -> None:
    """Write the reports into a folder: ``variables.env``, ``annotations.json``, ``junit.xml`` and ``metrics.txt``.

    Parameters
    ----------
    folder
        An existing folder.
    outcome
        What came of the job.
    outputs
        What `Outcome.outputs` returned. ``variables.env`` leaves out empty values, and values with spaces or characters beyond
        ASCII.
    method, benchmark
        Names of the method and the benchmark.
    """
    lines = [f"{variable(name)}={value}" for name, value in outputs.items() if re.fullmatch(r"[!-~]+", value)]
    _write(folder / "variables.env", "".join(f"{line}\n" for line in lines))
    links = [{"external_link": {"label": title_of(outcome), "url": outputs["url"]}}] if outputs["url"] else []
    _write(folder / "annotations.json", json.dumps({"LDSBoard": links}) + "\n")
    _write(folder / "junit.xml", _junit(outcome, f"{method} on {benchmark}"))
    lds = [f"ldsboard_lds {outputs['lds']}\n"] if outputs["lds"] else []
    _write(folder / "metrics.txt", "".join(lds))


def _junit(outcome: Outcome, name: str) -> str:
    suites = ET.Element("testsuites")
    failures = str(int(outcome.code != 0))
    suite = ET.SubElement(suites, "testsuite", name="ldsboard", tests="1", failures=failures, errors="0")
    case = ET.SubElement(suite, "testcase", name=_xml(name), classname="ldsboard")
    if outcome.code:
        failure = ET.SubElement(case, "failure", message=_xml(title_of(outcome)))
        failure.text = _xml(outcome.message)
    ET.SubElement(case, "system-out").text = _xml(result_line(outcome))
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    return CONTROL.sub(" ", text)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
