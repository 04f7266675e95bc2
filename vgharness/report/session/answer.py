"""What a page of measured models says first: how many have problems, which, and where; by rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from vgharness.formatting import count, escaped, listing, shorten, together
from vgharness.gradflow.diagnosis import Diagnosis
from vgharness.records import Sample

LONGEST_NAME: Final = 60
_MOST_NAMED: Final = 3


class Finding(NamedTuple):
    """What was found of one model.

    name: short, and no other's.
    failed: whether its test failed.
    """

    name: str
    diagnosis: Diagnosis
    failed: bool

    @property
    def severity(self) -> str:
        """Of the most serious problem; empty: there is none."""
        return self.diagnosis.problems[0].severity if self.diagnosis.problems else ""


def short_names(samples: Sequence[Sample]) -> list[str]:
    """A name for each sample: of its test only what follows the file and class, where that sets all of them apart."""
    short = [f"{sample.test.rpartition('::')[2]} {sample.name}".strip() for sample in samples]
    names = short if len(set(short)) == len(short) and all(short) else [sample.label for sample in samples]
    return [escaped(name) for name in names]


def headline(findings: Sequence[Finding]) -> str:
    """One sentence, without its full stop: ``2 of 3 models have problems: vanishing in a, dead in b``."""
    if not findings:
        return "No model was measured"
    if len(findings) == 1:
        return _of_one(findings[0])
    problems, warnings = (_of_severity(findings, word) for word in ("problem", "warning"))
    many = len(findings)
    if problems:
        return f"{len(problems)} of {many} models {_have(problems, 'problem')}: {_kinds(problems)}"
    if warnings:
        return f"None of {many} models has a problem; {len(warnings)} {_have(warnings, 'warning')}: {_kinds(warnings)}"
    failed = [x.name for x in findings if x.failed]
    but = f", but {count(len(failed), 'test')} failed: {_named(failed)}" if failed else ""
    return f"All {many} models are healthy{but}"


def beside(findings: Sequence[Finding]) -> tuple[str, ...]:
    """What else is to be known of several models, in words; what the headline says is not said again."""
    problems, warnings = (_of_severity(findings, word) for word in ("problem", "warning"))
    if len(findings) < 2 or not (problems or warnings):
        return ()
    said = [f"{len(warnings)} {_have(warnings, 'warning')}: {_kinds(warnings)}"] if problems and warnings else []
    failed = [x.name for x in findings if x.failed and x.severity != "problem"]
    said += (
        [f"{count(len(failed), 'test')} failed without a problem in the gradients: {_named(failed)}"] if failed else []
    )
    return tuple(said)


def _of_severity(findings: Iterable[Finding], severity: str) -> list[Finding]:
    return [finding for finding in findings if finding.severity == severity]


def _have(findings: Sequence[Finding], what: str) -> str:
    return f"has a {what}" if len(findings) == 1 else f"have {what}s"


def _of_one(finding: Finding) -> str:
    name = shorten(finding.name, LONGEST_NAME)
    if not finding.diagnosis.problems:
        return f"{name} is healthy{', but its test failed' if finding.failed else ''}"
    found = listing(
        (f"{x.kind} from {shorten(escaped(x.layer), LONGEST_NAME)}" for x in finding.diagnosis.problems), most=2
    )
    return f"{name}: {found}" if finding.severity == "problem" else f"{name} has a warning: {found}"


def _kinds(findings: Iterable[Finding]) -> str:
    """The models by the most serious problem that they have, that of most models first."""
    names: dict[str, list[str]] = {}
    for finding in findings:
        names.setdefault(finding.diagnosis.problems[0].kind, []).append(finding.name)
    by_number = sorted(names.items(), key=lambda each: -len(each[1]))
    return ", ".join(f"{kind} in {_named(own)}" for kind, own in by_number)


def _named(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b, c and 4 more``."""
    short = [shorten(name, LONGEST_NAME) for name in names]
    return listing(short, most=_MOST_NAMED) if len(short) > _MOST_NAMED else together(short)
