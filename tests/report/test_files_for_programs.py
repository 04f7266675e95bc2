"""What lies beside the page for programs: verdicts as JSON and as JUnit XML, a summary in Markdown; and where git is
to look away."""

import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from factories import make_reading, make_result, make_run, make_verdict
from markdown_it import MarkdownIt
from markdown_it.token import Token

from vgharness.records import Document, Run
from vgharness.report.figures.pictures import FIGURES, Picture
from vgharness.report.study_page import FILES, write_report
from vgharness.report.summary_file import study_summary
from vgharness.report.verdict_json import Judged

pytestmark = pytest.mark.fast

HOSTILE = "a|b` ![x](http://h.org) <script>alert(1)</script> **bold** [l](h) @user #1 \n\n# head\n```\n\u202e&lt; \\"
PICTURES = tuple(
    Picture(name=name.removesuffix(".png"), title=f"Figure {index} [of](x) <b>", png=b"png", svg=b"svg")
    for index, name in enumerate(FIGURES)
)


def a_run(**changes: object) -> Run:
    verdicts = (
        make_verdict("reproduced", make_reading(value=52.9, low=51.8, high=54.0)),
        make_verdict("mixed", make_reading(), make_reading("not reproduced", value=1.0), claim="two"),
        make_verdict("not run", make_reading("not run", numbers=()), make_reading("not run", ()), claim="later"),
    )
    fields = {"document": Document(title="A paper"), "verdicts": verdicts, **changes}
    return make_run([make_result(seed=seed, curve=[10.0]) for seed in (42, 43)], **fields)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("vgharness.report.study_page.draw", lambda run: PICTURES)
    monkeypatch.setattr("vgharness.report.study_page.render", lambda run: "a page")
    write_report(a_run(), tmp_path / "page")
    return tmp_path / "page"


def test_json_has_the_verdicts_and_the_run_that_they_are_of(folder: Path) -> None:
    run = a_run()
    found = Judged.model_validate_json((folder / "report.json").read_bytes())
    assert (found.document, found.verdicts) == (run.document, run.verdicts)
    assert found.counts["reproduced"] == found.counts["not run"] == 1
    (of,) = found.runs
    assert (folder / of.file).name == "run.json"
    assert (of.kind, of.seeds) == ("run", (42, 43))
    for name in ("created", "status", "command", "commit", "machine", "data", "seconds"):
        assert getattr(of, name) == getattr(run, name)


def test_junit_has_a_case_for_each_claim(folder: Path) -> None:
    cases = ElementTree.fromstring((folder / "verdicts.xml").read_bytes()).iter("testcase")
    assert [case.get("name") for case in cases] == ["it-is-so-script", "two-script", "later-script"]


def parsed(text: str) -> list[Token]:
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [each for token in tokens for each in (token, *(token.children or ()))]


def cells(text: str) -> list[list[str]]:
    rows: list[list[str]] = []
    for token in parsed(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and token.level > 3:
            rows[-1].append("".join(child.content for child in token.children or ()))
    return rows


def test_the_summary_has_counts_a_row_for_each_claim_and_the_three_figures(folder: Path) -> None:
    text = (folder / "summary.md").read_text(encoding="utf-8")
    assert "**1 reproduced, 1 mixed, 1 not run" in text
    assert cells(text) == [
        ["claim", "verdict", "value", "interval", "expected"],
        ["it-is-so-script", "✓ reproduced", "52.9 %", "95 % in 51.8 to 54, 2 seeds", "≥ 1 %"],
        ["two-script", "◐ mixed", "not finite and 1 reading more", "2 seeds", "≥ 1 %"],
        ["later-script", "– not run", "–", "–", "≥ 1 %"],
    ]
    images = [token.attrs["src"] for token in parsed(text) if token.type == "image"]
    assert images == [*FIGURES]
    assert all((folder / str(image)).is_file() for image in images)


def test_nothing_from_outside_is_markup_in_the_summary() -> None:
    reading = make_reading(label=HOSTILE, expected=f"1 {HOSTILE}", unit=HOSTILE, value=1.0)
    verdict = make_verdict("reproduced", reading, variant=HOSTILE, claim=HOSTILE, reason=HOSTILE)
    run = a_run(document=Document(title=HOSTILE, address=HOSTILE), verdicts=(verdict,), command=HOSTILE, commit=HOSTILE)
    run = run.model_copy(
        update={
            "data": run.data.model_copy(update={"description": HOSTILE}),
            "machine": run.machine.model_copy(update={"device": HOSTILE}),
            "created": HOSTILE,
        }
    )
    text = study_summary(run, PICTURES)
    kinds = [token.type for token in parsed(text)]
    assert kinds.count("image") == len(FIGURES)
    assert kinds.count("heading_open") == 1
    assert {"html_inline", "html_block", "link_open", "fence", "code_block"}.isdisjoint(kinds)
    assert [len(row) for row in cells(text)] == [5, 5]
    assert "\u202e" not in text
    outside = "".join(token.content for token in parsed(text) if token.type == "text")
    assert "script>" not in outside
    assert "user" not in outside


def test_a_run_that_was_judged_by_nothing_says_so() -> None:
    text = study_summary(a_run(document=None, verdicts=(), status="interrupted"), ())
    assert "No claims were judged." in text
    assert "The run is interrupted" in text
    assert "|" not in text


def test_a_page_of_ones_own_leaves_the_clone_clean_and_the_committed_one_does_not(tmp_path: Path) -> None:
    rules = (Path(__file__).parents[2] / ".gitignore").read_bytes()
    (tmp_path / ".gitignore").write_bytes(rules)
    names = [f"reports/{name}" for name in (*FILES, "gradflow.html", "0003/index.html", "committed/index.html")]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    done = subprocess.run(
        ["git", "-C", tmp_path, "check-ignore", "--no-index", *names], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == names[:-1]


def test_run_json_is_compact(folder: Path) -> None:
    text = (folder / "run.json").read_text(encoding="utf-8")
    assert "\n" not in text.rstrip()
    assert '": ' not in text
