"""Verdicts as JUnit XML, which CI systems show as tests: a case for each claim and variant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

from vgharness.formatting import escaped
from vgharness.records import Document, Outcome, Verdict
from vgharness.report.verdict_table import in_lines, named

# What stands inside a case; nothing does in that of a claim that is reproduced.
_ELEMENTS: Final[dict[Outcome, str]] = {
    "mixed": "failure",
    "not reproduced": "failure",
    "inconclusive": "skipped",
    "not run": "skipped",
    "error": "error",
}


def junit_xml(document: Document | None, verdicts: Sequence[Verdict]) -> bytes:
    """Makes the content of a file of one suite, whose name is the document's title; ``claims`` where there is none.

    What is not reproduced, or mixed, is a failure with the sentence and its readings as text; what is inconclusive, or
    was not run, is skipped with the reason; what raised is an error. Control characters, which XML cannot hold, are
    escaped.
    """
    title = escaped(document.title) if document else "claims"
    elements = [_ELEMENTS.get(verdict.outcome, "") for verdict in verdicts]
    counts = {
        "tests": str(len(verdicts)),
        "failures": str(elements.count("failure")),
        "errors": str(elements.count("error")),
        "skipped": str(elements.count("skipped")),
    }
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": title, **counts})
    for verdict, element in zip(verdicts, elements, strict=True):
        case = ElementTree.SubElement(suite, "testcase", {"classname": title, "name": escaped(named(verdict))})
        if element:
            message = f"{verdict.outcome}: {verdict.reason}" if verdict.reason else verdict.outcome
            inside = ElementTree.SubElement(case, element, {"message": escaped(message), "type": verdict.outcome})
            inside.text = in_lines(verdict)
    ElementTree.indent(root)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode").encode() + b"\n"
