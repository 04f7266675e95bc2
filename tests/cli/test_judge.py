"""``vgharness judge`` and ``vgharness report``: claims of a file, of saved runs and sessions."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from factories import CANONICAL, MACHINE, SYNTHETIC, make_flow, make_result, make_run, make_verdict
from typer.testing import CliRunner, Result

from vgharness.cli.main import app
from vgharness.records import Document, Outcome, Rounds, Run, Sample, Session, Verdict
from vgharness.report.verdict_json import Judged
from vgharness.storage.store import RunStore, load_run
from vgharness.study.looks import planned_looks

pytestmark = pytest.mark.fast

TEST = "tests/test_model.py::test_flow"
CLAIMS = f"""
[document]
title = "A paper on depth"

[[claim]]
id = "learns"
sentences = ["GELU learns, and well."]
words = ["learns"]
[[claim.reading]]
label = "test accuracy after epoch 2"
quantity = "test_accuracy"
of = {{ activation = "gelu" }}
at = 2
accept = {{ above = 20 }}

[[claim]]
id = "shrinks"
sentences = ["The gradient halves with every layer."]
[[claim.reading]]
label = "factor per layer"
quantity = "signal_l2"
of = {{ test = "{TEST}" }}
layers = {{ match = "conv*", take = "factor" }}
at = "init"
accept = {{ printed = 0.5, within_factor = 1.1 }}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vgharness.report.figures.sheet.written", lambda sheet: (b"", b""))
    Path("claims.toml").write_text(CLAIMS)


def save(name: str, record: Run | Session) -> Path:
    path = Path(name)
    path.write_text(record.model_dump_json())
    return path


def study(seeds: tuple[int, ...] = (42, 43, 44, 45, 46), **changes: object) -> Run:
    results = [make_result("gelu", seed, curve=[30.0, 40.0 + seed / 10]) for seed in seeds]
    return make_run(results, **{"data": SYNTHETIC, **changes})


def session(factor: float = 0.5) -> Session:
    flows = tuple(make_flow(factor * (1 + seed / 1000)) for seed in range(5))
    sample = Sample(test=TEST, seeds=tuple(range(5)), flows=flows)
    return Session(created="2026-01-02", command="pytest", commit=None, machine=MACHINE, samples=(sample,))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100"})


def only_line(result: Result) -> str:
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    return line


def judged(*arguments: str) -> Judged:
    return Judged.model_validate_json(run("judge", *arguments, "--json").stdout)


def outcomes(found: Judged) -> dict[str, Outcome]:
    return {verdict.claim: verdict.outcome for verdict in found.verdicts}


# --- judge -----------------------------------------------------------------------------------------------


def test_a_run_and_a_session_are_judged_together() -> None:
    save("run.json", study())
    save("session.json", session())
    assert outcomes(judged("claims.toml", "run.json")) == {"learns": "reproduced", "shrinks": "not run"}
    assert outcomes(judged("claims.toml", "session.json")) == {"learns": "not run", "shrinks": "reproduced"}
    both = judged("claims.toml", "run.json", "session.json")
    assert outcomes(both) == {"learns": "reproduced", "shrinks": "reproduced"}
    assert both.document == Document(title="A paper on depth")
    assert [(run.file, run.kind) for run in both.runs] == [("run.json", "run"), ("session.json", "session")]
    assert (both.counts["reproduced"], both.counts["not run"]) == (2, 0)


def test_a_study_in_rounds_of_seeds_is_judged_at_the_level_of_its_look() -> None:
    in_rounds = study().study.model_copy(update={"rounds": Rounds(looks=planned_looks(20))})
    save("rounds.json", study(study=in_rounds))
    text = " ".join(run("judge", "claims.toml", "rounds.json").output.split())
    assert "98.75 % in " in text
    assert "rounds.json: look 1 of up to 5, at 5 seeds: intervals are at 98.75 %" in text


def test_cells_of_several_runs_count_as_one() -> None:
    save("a.json", study((42, 43)))
    save("b.json", study((44, 45, 46)))
    assert outcomes(judged("claims.toml", "a.json"))["learns"] == "inconclusive"
    found = judged("claims.toml", "a.json", "b.json")
    assert [value.seed for value in found.verdicts[0].readings[0].values] == [42, 43, 44, 45, 46]


def test_runs_are_found_in_the_store_by_number_and_name() -> None:
    store = RunStore(Path("kept"))
    store.save(study(), "study")
    store.save(session(), "main")
    for arguments in (("1", "2"), ("study", "main")):
        found = judged("claims.toml", *arguments, "--storage", "kept")
        assert outcomes(found) == {"learns": "reproduced", "shrinks": "reproduced"}
        assert [Path(run.file).name for run in found.runs] == ["0001_study.json", "0002_main.json"]


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("printed = 44, within = 2", "yes"),
        ("printed = 50, within = 1", "no"),
        ("printed = 44, within = 0.1", "open"),
        ("printed = 44", None),  # as one run: nothing is asked of the mean
        ("at_least = 44", None),
    ],
)
def test_whether_our_mean_is_what_is_printed(accept: str, answer: str | None) -> None:
    save("run.json", study())  # 44.2 to 44.6 %
    Path("claims.toml").write_text(CLAIMS.replace("above = 20", accept))
    (reading,) = judged("claims.toml", "run.json").verdicts[0].readings
    assert reading.mean_is_printed == answer


def test_the_terminal_shows_the_document_the_words_and_the_reasons() -> None:
    result = run("judge", "claims.toml", str(save("run.json", study())))
    assert result.stdout.startswith("A paper on depth, judged on run.json\n")
    for part in ("GELU «learns», and well.", "✓ reproduced", f"needs a session with {TEST}"):
        assert part in result.stdout, part
    assert result.stdout.splitlines()[-2] == "1 reproduced, 1 not run"
    assert result.stdout.splitlines()[-1].startswith("of 1 that was decided, ")


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (["reproduced", "not run"], 0),
        (["reproduced", "mixed"], 1),
        (["reproduced", "inconclusive"], 1),
        (["not reproduced"], 1),
        (["error"], 1),
        (["not run"], 1),
    ],
)
def test_exit_status(found: list[Outcome], status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    save("run.json", study())
    verdicts = tuple(make_verdict(outcome, claim=f"claim-{i}") for i, outcome in enumerate(found))
    monkeypatch.setattr("vgharness.study.judging.judge", lambda *_: verdicts)
    assert run("judge", "claims.toml", "run.json").exit_code == status


def test_the_readmes_own_claims_are_judged_by_their_word() -> None:
    save("run.json", study())
    found = judged("readme", "run.json")
    assert found.document.title == "CIFAR-10 Vanishing Gradient Experiment"
    assert len(found.verdicts) > 10


def test_junit_is_written_beside_either_output() -> None:
    save("run.json", study())
    for more in ((), ("--json",)):
        result = run("judge", "claims.toml", "run.json", "--junit", "out.xml", *more)
        assert "JUnit XML written to out.xml" in (result.stderr if more else result.stdout)
        root = ElementTree.fromstring(Path("out.xml").read_text(encoding="utf-8"))
        assert [case.get("name") for case in root.iter("testcase")] == ["learns", "shrinks"]
        assert [child.tag for case in root.iter("testcase") for child in case] == ["skipped"]
        Path("out.xml").unlink()


def bad_claims(text: str) -> Callable[[], tuple[str, ...]]:
    def write() -> tuple[str, ...]:
        Path("claims.toml").write_text(text)
        return ("claims.toml", "run.json")

    return write


def of_other_images() -> tuple[str, ...]:
    save("other.json", study(data=CANONICAL.model_copy(update={"sha256": "1" * 64})))
    return ("claims.toml", "run.json", "other.json")


def no_run(content: str) -> Callable[[], tuple[str, ...]]:
    def write() -> tuple[str, ...]:
        Path("bad.json").write_text(content)
        return ("claims.toml", "bad.json")

    return write


BAD: dict[str, tuple[Callable[[], tuple[str, ...]], str]] = {
    "no claims file": (lambda: ("none.toml", "run.json"), "none.toml: cannot be read (No such file or directory)"),
    "no TOML": (bad_claims("[document"), "claims.toml: not valid TOML: "),
    "unknown key": (
        bad_claims(CLAIMS.replace("words =", "wrods =")), "claims.toml: claim 'learns': wrods: unknown key; known: id"
    ),
    "unknown quantity": (bad_claims(CLAIMS.replace('"test_accuracy"', '"accurcy"')), "'accurcy' is unknown; known: "),
    "no claims in it": (bad_claims('[document]\ntitle = "x"'), "claims.toml: no claims in it"),
    "no run": (lambda: ("claims.toml", "./none.json"), "./none.json: there is no such file"),
    "no such name": (lambda: ("claims.toml", "none.json"), "no run, session or training log 'none.json' here"),
    "no such number": (lambda: ("claims.toml", "7"), "no run, session or training log '7' here"),
    "run is no JSON": (no_run("{"), "bad.json: not a whole JSON file"),
    "run is another's JSON": (no_run('{"a": 1}'), "bad.json: not a run of vgharness"),
    "other images": (of_other_images, "the runs differ in their images"),
    "junit a folder": (lambda: ("claims.toml", "run.json", "--junit", "."), "--junit .: this is a folder, not a file"),
    "junit nowhere": (lambda: ("claims.toml", "run.json", "--junit", "no/x.xml"), "there is no folder no"),
    "junit over claims": (
        lambda: ("claims.toml", "run.json", "--junit", "./claims.toml"),
        "--junit claims.toml: this is what is to be judged",
    ),
    "junit over a run": (
        lambda: ("claims.toml", "run.json", "--junit", "run.json"), "--junit run.json: this is what is to be judged"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(case: str) -> None:
    save("run.json", study())
    make, complaint = BAD[case]
    arguments = make()
    before = {path: path.read_bytes() for path in Path().iterdir()}
    result = run("judge", *arguments)
    assert complaint in only_line(result)
    assert result.stdout == ""
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_junit_into_a_device_is_refused() -> None:
    save("run.json", study())
    node = Path("device")
    try:
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # a node of our own that swallows all
    except (OSError, AttributeError):
        os.mkfifo(node)
    assert "--junit device: this is a" in only_line(run("judge", "claims.toml", "run.json", "--junit", "device"))
    assert not stat.S_ISREG(node.stat().st_mode)


def test_what_files_hold_reaches_no_terminal_raw() -> None:
    Path("claims.toml").write_text(
        CLAIMS.replace("A paper", r"A \u001b]0;x\u0007 paper").replace("GELU", r"\u001b[31m")
    )
    save("run.json", study())
    assert "\x1b" not in run("judge", "claims.toml", "run.json").output


# --- report ----------------------------------------------------------------------------------------------


def heading(page: str) -> str:
    text = Path(page).read_text(encoding="utf-8")
    return text[text.index("<header>") : text.index("</header>")]


def test_a_page_keeps_the_verdicts_of_its_run() -> None:
    paper = Document(title="Another paper")
    save("run.json", study(document=paper, verdicts=(make_verdict(claim="kept"),)))
    assert run("report", "run.json", "--out", "page").exit_code == 0
    assert "Another paper" in heading("page/index.html")
    assert [verdict.claim for verdict in load_run(Path("page/run.json")).verdicts] == ["kept"]


def test_a_run_without_verdicts_is_judged_by_the_readme() -> None:
    save("run.json", study())
    result = run("report", "run.json", "--out", "page")
    assert "judged anew" in result.stderr
    assert "CIFAR-10 Vanishing Gradient Experiment" in heading("page/index.html")
    assert load_run(Path("page/run.json")).verdicts


def test_a_page_can_be_held_against_another_document() -> None:
    save("run.json", study(document=Document(title="Another"), verdicts=(make_verdict(claim="kept"),)))
    assert run("report", "run.json", "--claims", "claims.toml", "--out", "page").exit_code == 0
    written = load_run(Path("page/run.json"))
    assert written.document == Document(title="A paper on depth")
    assert [verdict.claim for verdict in written.verdicts] == ["learns", "shrinks"]
    assert "Another" not in Path("page/index.html").read_text()
    assert load_run(Path("run.json")).verdicts[0].claim != "learns"  # the saved run is as it was


def test_a_session_can_be_held_against_a_document() -> None:
    RunStore().save(session(), "main")
    assert run("report", "main", "--out", "plain").exit_code == 0
    assert "Claims</h2>" not in Path("plain/gradflow.html").read_text()
    assert run("report", "main", "--claims", "claims.toml", "--out", "page").exit_code == 0
    html = Path("page/gradflow.html").read_text()
    assert "A paper on depth" in html
    assert "<mark>The gradient halves with every layer.</mark>" in html


def test_wrong_claims_leave_the_earlier_page() -> None:
    save("run.json", study())
    Path("page").mkdir()
    Path("page/index.html").write_text("an earlier page")
    Path("claims.toml").write_text("[[claim]]")
    assert "claims.toml: " in only_line(run("report", "run.json", "--claims", "claims.toml", "--out", "page"))
    assert Path("page/index.html").read_text() == "an earlier page"


def test_the_json_is_ascii() -> None:
    save("run.json", study())
    text = run("judge", "claims.toml", "run.json", "--json").stdout
    assert text.isascii()
    verdicts: list[Verdict] = [Verdict.model_validate(each) for each in json.loads(text)["verdicts"]]
    assert verdicts[0].words == ("learns",)
