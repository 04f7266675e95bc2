"""The page, on made-up runs."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import pytest
from factories import CANONICAL, SYNTHETIC, make_reading, make_result, make_run, make_verdict, paired

from vgharness.claims.loading import load_claims
from vgharness.records import OUTCOMES, Document, Provenance, Run
from vgharness.report.study_page import FILES, render, write_report
from vgharness.storage.store import load_run
from vgharness.study.judging import judged as judged_by

pytestmark = pytest.mark.fast

_FIGURES = ("loss_acc_comparison", "grad_norms_per_layer", "activation_gradmaps_conv1")
NAMES = tuple(f"{name}.{kind}" for kind in ("png", "svg") for name in _FIGURES)


def judged(run: Run) -> Run:
    return judged_by(run, load_claims())


def study_run(data: Provenance = CANONICAL, **changes: object) -> Run:
    results = paired(
        (42, 43, 44),
        {
            "sigmoid": lambda seed: [10 + 3 * n + (seed - 43) / 10 for n in range(20)],
            "relu": lambda seed: [55 + 1.3 * n + (seed - 43) / 10 for n in range(20)],
        },
    )
    brightness = {"sigmoid": 1e-9, "relu": 1e-3}
    results = [r.model_copy(update={"heatmap": ((brightness[r.cell.activation],) * 32,) * 32}) for r in results]
    return judged(make_run(results, data=data, **changes))


@pytest.fixture(scope="module")
def page() -> str:
    return render(study_run())


class Page(HTMLParser):
    """Ids, links within the page, sources of images, tags, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.styled = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.styled = tag == "style"
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            if key == "href":
                self.links.append(value or "")
            if key in ("src", "srcset"):
                self.sources.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += "" if self.styled else data


def test_every_claim_has_a_tile_that_leads_to_it_and_a_way_back(page: str) -> None:
    tiles = page[page.index('<ul class="tiles"') : page.index("</ul>", page.index('<ul class="tiles"'))]
    parsed = Page(page)
    for claim in load_claims():
        assert f'href="#claim-{claim.id}-script"' in tiles
        assert f"claim-{claim.id}-script" in parsed.ids
        row = page[page.index(f'id="claim-{claim.id}-script"') :]
        assert 'href="#top"' in row[: row.index("↑") + 1]
    assert len(parsed.ids) == len(set(parsed.ids))
    within = {link.removeprefix("#") for link in parsed.links if link.startswith("#")}
    assert within <= set(parsed.ids)


def test_evidence_leads_to_the_claims_that_it_bears_on(page: str) -> None:
    for figure, claim in {
        "gradients": "relu-gradient-stable",
        "accuracy": "relu-final",
        "networks": "architecture",
    }.items():
        section = page[page.index(f'<section id="{figure}">') :]
        section = section[: section.index("</section>")]
        assert f'href="#claim-{claim}-script"' in section[section.index("Judged in") :]
        row = page[page.index(f'id="claim-{claim}-script"') :]
        assert f'href="#{figure}"' in row[: row.index("</li>")]


def test_the_page_is_self_contained(page: str) -> None:
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object", "source"} & parsed.tags
    assert parsed.sources
    assert all(source.startswith("data:image/png;base64,") for source in parsed.sources)
    assert not re.search(r"url\(|@import", page)
    # No address but that of the document, to be followed by who wants to.
    assert {link for link in parsed.links if not link.startswith("#")} == {load_claims()[0].document.address}


def test_the_page_says_what_it_rests_on(page: str) -> None:
    text = Page(page).text
    for fact in ("python -m vgharness.full", CANONICAL.sha256, "a processor", "torch", "fp32", "42, 43, 44", "abc"):
        assert fact in text, fact


def test_what_came_from_outside_is_escaped() -> None:
    nasty = "<script>alert(1)</script>"
    run = study_run(
        CANONICAL.model_copy(update={"description": nasty, "cifar10": "no", "kind": "folder"}),
        command=f"python -m vgharness.full --data '{nasty}'",
        commit=nasty,
    )
    html = render(run)
    assert "script" not in Page(html).tags
    assert "&lt;script&gt;alert(1)" in html


@pytest.mark.parametrize(
    ("run", "notice"),
    [
        (study_run(SYNTHETIC), "Not CIFAR-10"),
        (study_run(CANONICAL.model_copy(update={"cifar10": "re-encoded"})), "Not the canonical CIFAR-10 files"),
        (study_run(status="interrupted"), "This run was interrupted."),
        (
            judged(
                make_run([make_result(curve=[10.0], status="diverged", reason="the loss of epoch 1 is not finite")])
            ),
            "diverged:",
        ),
    ],
    ids=["synthetic", "re-encoded", "interrupted", "diverged"],
)
def test_the_page_opens_with_what_must_be_known_first(run: Run, notice: str) -> None:
    html = render(run)
    assert html.index(notice) < html.index("<main")


def test_a_clean_canonical_run_carries_no_notice(page: str) -> None:
    assert "notice" not in page[page.index("<body") :]
    assert "Not the canonical" not in page


@pytest.mark.parametrize(
    "run",
    [
        judged(make_run([make_result(status="failed", reason="RuntimeError: out of memory", epochs=20)])),
        judged(make_run([make_result("tanh", epochs=0)])),
        judged(make_run([make_result(curve=[10.0], heatmap=None), make_result("relu", curve=[50.0])])),
        judged(make_run([make_result(architecture=a, curve=[10.0]) for a in ("readme", "script")])),
    ],
    ids=["all failed", "nothing trained", "one without heatmap", "two architectures"],
)
def test_odd_runs_have_a_page_too(run: Run) -> None:
    assert "claims</h2>" in render(run)


def test_two_architectures_are_told_apart() -> None:
    run = judged(make_run([make_result(architecture=a, curve=[10.0]) for a in ("readme", "script")]))
    html = render(run)
    assert 'href="#claim-sigmoid-epoch-1-readme"' in html
    assert 'href="#claim-sigmoid-epoch-1-script"' in html


def test_a_seed_that_diverged_shows_no_number_that_is_none() -> None:
    results = [make_result(seed=s, curve=[10.0] * 20) for s in (42, 43)]
    broken = make_result(seed=44, curve=[10.0], epochs=20, status="diverged", reason="the loss is not finite")
    text = Page(render(judged(make_run([*results, broken])))).text
    assert "1 of 3 seeds diverged" in text
    assert not re.search(r"\b(None|nan|inf)\b", text)


def test_written_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vgharness.report.figures.sheet.written", lambda sheet: (b"pixels", b"lines"))
    run = study_run()
    assert write_report(run, tmp_path / "reports") == tmp_path / "reports" / "index.html"
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {*FILES}
    assert (tmp_path / "reports" / NAMES[0]).read_bytes() == b"pixels"
    assert (tmp_path / "reports" / NAMES[-1]).read_bytes() == b"lines"
    assert load_run(tmp_path / "reports" / "run.json") == run


# --- pages of other documents ----------------------------------------------------------------------------

PAPER = Document(title="A paper <on> depth", address="https://example.org/paper?a=1&b=2")


def of_a_paper(*verdicts: object, document: Document = PAPER, **changes: object) -> Run:
    results = [make_result("gelu", seed, curve=[30.0, 40.0]) for seed in (42, 43)]
    return make_run(results, document=document, verdicts=verdicts or (make_verdict(variant=""),), **changes)


def test_the_document_is_named_and_linked() -> None:
    parsed = Page(render(of_a_paper()))
    assert parsed.text.index(PAPER.title) < parsed.text.index("How sure?")
    assert PAPER.address in parsed.links


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "paper.md", ""])
def test_no_other_address_is_linked(address: str) -> None:
    parsed = Page(render(of_a_paper(document=Document(title="A paper", address=address))))
    assert all(link.startswith("#") for link in parsed.links)


def test_nothing_on_the_page_of_another_document_speaks_of_the_readme() -> None:
    html = re.sub("<style>.*?</style>", "", render(of_a_paper()), flags=re.DOTALL)
    assert not re.search(r"readme|sigmoid|relu|published", html, re.IGNORECASE)


def test_a_run_that_was_held_against_nothing_has_a_page_too() -> None:
    text = Page(render(make_run([make_result(curve=[10.0])]))).text
    assert "Gradients of 1 network, measured" in text
    assert "claim" not in text


# --- how verdicts are shown ------------------------------------------------------------------------------


def test_the_judged_words_are_marked_in_the_sentence() -> None:
    html = render(of_a_paper(make_verdict(sentence="It <is> so, and more.", words=("It <is> so",))))
    assert html.count("<mark>It &lt;is&gt; so</mark>, and more.") == 1


def test_every_outcome_has_its_own_sign_and_colour() -> None:
    html = render(of_a_paper(*(make_verdict(each, claim=each.replace(" ", "-")) for each in OUTCOMES)))
    signs = re.findall(r'<li class="verdict ([\w-]+)"><span aria-hidden="true">(.)</span> 1 ', html)
    assert [name for name, _ in signs] == [each.replace(" ", "-") for each in OUTCOMES]
    assert len({sign for _, sign in signs}) == len(OUTCOMES)
    for name, _ in signs:
        assert re.search(rf"\.{name} {{ color:", html), name


def test_how_many_stand_after_holms_correction_is_under_the_tally() -> None:
    text = Page(render(of_a_paper(make_verdict(p=0.001)))).text
    assert "Of 1 that was decided, 1 stands after Holm's correction over the 1 claim that ran." in text


def test_what_is_only_shown_beside_stands_apart() -> None:
    verdict = make_verdict(
        "reproduced",
        make_reading(label="of the text", value=1.5),
        make_reading(label="its plot", numbers=(3.0, 4.0), value=3.5, context=True),
    )
    html = render(of_a_paper(verdict))
    row = html[html.index('id="claim-') :]
    assert row.index("of the text: 1.50 %") < row.index("beside it: its plot: 3.50 %") < row.index("<table")
    assert 'class="beside"' in row
    readings = row[row.index("<table") :]
    assert readings.index("of the text") < readings.index("its plot") < readings.index("decides nothing")


def test_the_row_of_a_mixed_claim_says_what_holds_and_what_does_not() -> None:
    early, late = make_reading(label="early", value=1.5), make_reading("not reproduced", label="late", value=0.5)
    text = Page(render(of_a_paper(make_verdict("mixed", early, late)))).text
    for part in ("early: 1.50 %", "late: 0.500 %", "1 reproduced, 1 not reproduced"):
        assert part in text, part


def test_a_claim_of_which_some_readings_did_not_run_shows_those_that_did() -> None:
    ran, gone = (
        make_reading(label="early", value=1.5),
        make_reading("not run", (), label="late", reason="needs 20 epochs"),
    )
    text = Page(render(of_a_paper(make_verdict("inconclusive", ran, gone, reason="1 of 2 ran")))).text
    for part in ("1 reproduced, 1 not run", "1 of 2 ran", "1.50 %", "needs 20 epochs"):
        assert part in text, part


def test_a_claim_that_did_not_run_is_one_line_with_the_command_that_would_run_it() -> None:
    gone = make_verdict("not run", make_reading("not run", ()), reason="needs depth 2", command="do --depths 2")
    html = render(of_a_paper(gone))
    line = html[html.index('<div class="brief"') :]
    text = Page(line[: line.index("</div>")]).text
    for part in ("It is so, and more.", "needs depth 2", "To run it: do --depths 2"):
        assert part in text, part
    assert "<table" not in line[: line.index("</div>")]


def test_answers_and_divergence_are_shown() -> None:
    reading = make_reading(
        "inconclusive", [44.0, None, 50.0], printed=(45.0,), could_be_one_run=True, further_low=31.0, further_high=62.0,
        mean_is_printed="open", low=41.0, high=53.0, value=47.0, reason="1 of 3 seeds diverged",
    )  # fmt: skip
    text = Page(render(of_a_paper(make_verdict("inconclusive", reading)))).text
    for part in (
        "is our mean 45? open", "could 45 be one run of ours? yes (95 % of runs in 31 to 62 %)",
        "1 of 3 seeds diverged", "43: diverged",
    ):  # fmt: skip
        assert part in text, part


def test_variants_of_any_name_have_anchors_of_their_own() -> None:
    verdicts = [make_verdict(variant=name) for name in ("", "a b", "a-b", 'x" onclick="y', "ü")]
    parsed = Page(render(of_a_paper(*verdicts)))
    anchors = [each for each in parsed.ids if each.startswith("claim-")]
    assert len(set(anchors)) == len(verdicts)
    assert not any(re.search(r"[\s\"]", each) for each in anchors)


def test_two_studies_write_into_one_folder_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[str] = []
    overlaps: list[int] = []

    def write(run: Run, out: Path, *_: object) -> Path:
        inside.append(run.command)
        time.sleep(0.05)  # time for the other one to come in
        overlaps.append(len(inside))
        inside.pop()
        return out

    monkeypatch.setattr("vgharness.report.study_page.draw", lambda run: [])
    monkeypatch.setattr("vgharness.report.study_page._write", write)
    runs = [make_run([make_result(curve=[10.0])], command=name) for name in ("one", "another")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda run: write_report(run, tmp_path), runs))
    assert overlaps == [1, 1]
