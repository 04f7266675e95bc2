"""Verdicts as JSON and as JUnit XML."""

import json
from xml.etree import ElementTree

import pytest
from factories import make_reading, make_result, make_run, make_verdict

from vgharness.records import Document, Outcome
from vgharness.report import verdict_json
from vgharness.report.junit import junit_xml
from vgharness.report.verdict_json import Judged, as_json

pytestmark = pytest.mark.fast

DOCUMENT = Document(title="A paper")
RUN = make_run([make_result(curve=[10.0])])


def test_json_has_document_runs_verdicts_counts_and_what_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict_json, "standing_after_holm", lambda verdicts: {("it-is-so", "script")})
    verdicts = [make_verdict(), make_verdict("mixed", claim="other")]
    found = as_json(DOCUMENT, [("run.json", RUN)], verdicts)
    content = json.loads(found.model_dump_json())
    assert list(content) == ["schema_version", "document", "runs", "verdicts", "counts", "standing_after_holm"]
    assert content["document"]["title"] == "A paper"
    (of,) = content["runs"]
    assert (of["file"], of["kind"], of["created"]) == ("run.json", "run", RUN.created)
    assert content["counts"] == {
        "reproduced": 1, "mixed": 1, "not reproduced": 0, "inconclusive": 0, "not run": 0, "error": 0
    }  # fmt: skip
    assert content["standing_after_holm"] == [{"claim": "it-is-so", "variant": "script"}]
    assert Judged.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("outcome", "tag"),
    [
        ("reproduced", None),
        ("mixed", "failure"),
        ("not reproduced", "failure"),
        ("inconclusive", "skipped"),
        ("not run", "skipped"),
        ("error", "error"),
    ],
)
def test_each_outcome_has_its_element(outcome: Outcome, tag: str | None) -> None:
    root = ElementTree.fromstring(junit_xml(DOCUMENT, [make_verdict(outcome, reason="why")]))
    (case,) = root.iter("testcase")
    assert (case.get("classname"), case.get("name")) == ("A paper", "it-is-so-script")
    assert [child.tag for child in case] == ([] if tag is None else [tag])
    (suite,) = root.iter("testsuite")
    counts = {"failure": "failures", "skipped": "skipped", "error": "errors"}
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "1", **{key: "1" if counts.get(tag or "") == key else "0" for key in counts.values()}
    }  # fmt: skip
    for child in case:
        assert child.get("message") == f"{outcome}: why"
        assert "a value" in str(child.text)


def test_a_claim_without_variant_has_its_id_alone() -> None:
    root = ElementTree.fromstring(junit_xml(DOCUMENT, [make_verdict(variant="")]))
    assert [case.get("name") for case in root.iter("testcase")] == ["it-is-so"]


def test_hostile_text_leaves_the_xml_well_formed() -> None:
    nasty = "]]> <failure> & \"'\x00\x08\x0b\x1b[31m\ufffe\uffff\ud800 \U0001f600 é\r\n"
    reading = make_reading("not reproduced", label=nasty, reason=nasty.replace("\ud800", ""), expected=nasty)
    verdict = make_verdict("not reproduced", reading, sentence=nasty, variant=nasty.replace("\ud800", ""))
    content = junit_xml(Document(title=nasty), [verdict])
    root = ElementTree.fromstring(content)
    assert len(list(root.iter("failure"))) == 1
    text = next(root.iter("failure")).text or ""
    assert "]]> <failure> & \"'\\x00\\x08\\x0b\\x1b[31m\\ufffe\\uffff\\ud800 \U0001f600 é\\r\\n" in text
