"""The main job from the command line: what it prints, writes and exits with."""

import contextlib
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import stat
import sys
import time
from collections.abc import Iterator
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import TextIO

import pytest
from factories import CANONICAL, make_reading, make_result, make_run, make_verdict
from PIL import Image
from typer.testing import CliRunner, Result

from vgharness.claims.loading import load_claims
from vgharness.cli.full import exit_status, main
from vgharness.cli.main import app
from vgharness.data.image_set import ImageSet
from vgharness.records import Cell, Outcome, Run, Study
from vgharness.storage.store import load_run
from vgharness.study import presets
from vgharness.system.environment import machine_prefix
from vgharness.training.callback import Callback

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command starts in an empty folder, and ``quick`` takes a second."""
    monkeypatch.chdir(tmp_path)
    tiny = presets.Preset(("script",), epochs=1, seeds=1, source="synthetic", train_images=32, test_images=16)
    monkeypatch.setitem(presets.PRESETS, "quick", tiny)
    monkeypatch.setattr("vgharness.report.figures.sheet.DPI", 30)


def full(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["full", "--device", "cpu", *arguments])


def only_line(result: Result) -> str:
    (line,) = result.stderr.strip().splitlines()
    return line


def test_quick_trains_judges_saves_and_writes_the_page() -> None:
    result = full("--preset", "quick", "--exit-zero")
    assert result.exit_code == 0, result.output
    beforehand = result.output[: result.output.index("networks to train")].splitlines()
    assert any(line.startswith("these settings can decide: ") for line in beforehand)
    assert any(line.startswith("not: sigmoid-epoch-1, relu-epoch-1, ") and "CIFAR-10" in line for line in beforehand)
    assert "expected to take about" in result.output
    assert "script relu seed 42, epoch 1 of 1" in result.output
    (saved,) = Path(".gradflow").glob("*/0001_quick.json")
    run = load_run(saved)
    assert {path.name for path in Path("reports").iterdir()} == {
        "index.html", "runs", "run.json", "report.json", "verdicts.xml", "summary.md",
        "loss_acc_comparison.png", "grad_norms_per_layer.png", "activation_gradmaps_conv1.png",
        "loss_acc_comparison.svg", "grad_norms_per_layer.svg", "activation_gradmaps_conv1.svg",
    }  # fmt: skip
    assert [path.name[:10] for path in Path("reports/runs").iterdir()] == ["0001_quick"]
    assert load_run(Path("reports/run.json")) == run
    assert all(claim.id in result.output for claim in load_claims())
    page = Path("reports/index.html").read_text()
    assert run.command in page
    shown = re.findall(r"^!\[.+\]\((.+)\)$", Path("reports/summary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(shown) == 3
    assert all(Path("reports", name).is_file() for name in shown)


EVERY_FACTOR = (
    "--depths 2,4 --width 0.5,1 --norm none,batch --init xavier --optimizer adam,sgd --learning-rate 0.1 "
    "--schedule cosine"
)


@pytest.mark.parametrize(
    "asked_for",
    [
        "--seeds 2 --depths 2,4",
        f"--seeds 2 {EVERY_FACTOR}",
        f"--seeds 2 --activations mish,prelu {EVERY_FACTOR}",
        "--seeds AUTO --most-seeds 7 --depths 2,4",
    ],
)
def test_the_command_on_the_page_gives_the_same_study(asked_for: str, asked: list[tuple[Study, ImageSet]]) -> None:
    full("--preset", "quick", *asked_for.split())
    saved = load_run(Path("reports/run.json"))
    CliRunner().invoke(app, ["full", *shlex.split(saved.command)[3:]])
    assert asked[0][0] == asked[1][0]
    varied = {cell.settings for cell in asked[0][0].cells if cell.epochs}
    assert len(varied) == (2 if asked_for.endswith("--depths 2,4") else 16)


STUDY = """
name = "own"
data = "synthetic"
seeds = 2
train_images = 32
test_images = 16
claims = "my claims.toml"
[[grid]]
activation = ["relu", "mish"]
epochs = 1
[[grid]]
activation = "relu"
norm = "batch"
epochs = 0
"""


def test_a_study_file_is_run_and_judged_by_its_own_claims_and_the_command_gives_it_again() -> None:
    Path("elsewhere").mkdir()
    Path("elsewhere/a study.toml").write_text(STUDY)
    Path("elsewhere/my claims.toml").write_text(CLAIMS)
    runs: list[tuple[Study, object, str]] = []

    def run_study(study: Study, images: ImageSet, *, claims: object, command: str, **_: object) -> Run:
        assert images.provenance.train_images == 32
        runs.append((study, claims, command))
        return make_run([make_result(status="failed")], command=command)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vgharness.study.run.run_study", run_study)
        result = CliRunner().invoke(app, ["run", "elsewhere/a study.toml", "--device", "cpu"])
        assert "study own on cpu, fp32; images: synthetic" in result.output
        CliRunner().invoke(app, shlex.split(runs[0][2])[1:])
    study, claims, command = runs[0]
    assert [(cell.activation, cell.norm, cell.epochs) for cell in study.cells if cell.seed == 43] == [
        ("relu", None, 1),
        ("mish", None, 1),
        ("relu", "batch", 0),
    ]
    assert claims == load_claims("elsewhere/my claims.toml")
    assert runs[1] == runs[0]
    assert command.startswith("vgharness run 'elsewhere/a study.toml' --device cpu --data synthetic")


@pytest.mark.parametrize("name", ["no-such.toml", "bad.toml"])
def test_a_study_file_that_cannot_be_read_is_one_line(name: str) -> None:
    Path("bad.toml").write_text("epoch = 3")
    for more in ((), ("--plan",)):
        result = CliRunner().invoke(app, ["run", name, *more])
        assert (result.exit_code, result.stdout) == (2, "")
        assert only_line(result).startswith(f"vgharness run: {name}: ")


def test_a_ready_made_study_is_a_preset_too(asked: list[tuple[Study, ImageSet]]) -> None:
    full("--preset", "theory", "--seeds", "1", "--data", "synthetic", "--width", "0.125", "--depths", "2")
    CliRunner().invoke(app, ["run", "theory", "--seeds", "1", "--data", "synthetic", "--device", "cpu"])
    assert asked[0][0] == presets.plan("theory", seeds=1, widths=[0.125], depths=[2])
    assert asked[1][0] == presets.plan("theory", seeds=1)
    command = load_run(Path("reports/run.json")).command
    assert command == "vgharness run theory --device cpu --data synthetic --seed 42 --precision fp32"


def test_very_many_networks_are_asked_about(
    asked: list[tuple[Study, ImageSet]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgharness.cli.full.MOST_UNASKED", 11)
    result = full("--preset", "quick", "--seeds", "2")
    line = "vgharness.full: 12 networks: to train more than 11 without being asked, give --yes"
    assert (result.exit_code, only_line(result)) == (2, line)
    assert full("--preset", "quick", "--seeds", "2", "--plan").exit_code == 0  # which trains nothing
    assert asked == []
    full("--preset", "quick", "--seeds", "2", "--yes")
    assert len(asked[0][0].cells) == 12


CLAIMS = """
[document]
title = "A paper"
[[claim]]
id = "learns"
sentences = ["It learns."]
[[claim.reading]]
quantity = "test_accuracy"
of = { activation = "relu" }
at = 1
accept = { at_least = 0 }
"""


def test_another_documents_claims_are_judged_and_the_command_says_so(asked: list[tuple[Study, ImageSet]]) -> None:
    Path("my claims.toml").write_text(CLAIMS)
    given: list[object] = []
    commands = []

    def run_study(study: Study, images: ImageSet, *, claims: object, command: str, **_: object) -> Run:
        given.append(claims)
        commands.append(command)
        return make_run([make_result(status="failed")], command=command)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vgharness.study.run.run_study", run_study)
        result = full("--claims", "my claims.toml")
        assert "not: learns: " in result.output  # one seed
        CliRunner().invoke(app, ["full", *shlex.split(commands[0])[3:]])
    assert given == [load_claims("my claims.toml")] * 2
    assert "--claims 'my claims.toml'" in commands[0]


def everything_here() -> set[Path]:
    return set(Path().rglob("*"))


def test_plan_shows_claims_reasons_and_time_and_leaves_nothing(asked: list[tuple[Study, ImageSet]]) -> None:
    Path("claims.toml").write_text(CLAIMS)
    before = everything_here()
    for more in ((), ("--claims", "claims.toml"), ("--out", "no/such/folder")):
        result = full("--preset", "quick", "--seeds", "3", "--plan", *more)
        assert result.exit_code == 0, result.output
        assert re.search(r"\d+ networks to train.*; expected to take about \d+ s here\n$", result.output)
        if "claims.toml" in more:
            assert re.search(r"learns +1 of 1 reading", result.output)
        else:
            assert re.search(r"sigmoid-final .*0 of 1 reading +needs all of", result.output)
    assert everything_here() == before
    assert asked == []


def test_plan_of_cifar10_downloads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> None:
        raise AssertionError("it asked for the images")

    monkeypatch.setattr("vgharness.data.images.load_images", download)
    monkeypatch.setattr("vgharness.data.planned._CIFAR10_COUNTS", (200, 100))  # drawn in a moment
    monkeypatch.setattr("vgharness.training.estimate.expected_seconds", lambda *_: 7200.0)
    result = full("--preset", "script", "--plan")
    assert result.exit_code == 0, result.output
    assert re.search(r"sigmoid-final .*1 of 1 reading", result.output)
    assert result.output.endswith("expected to take about 2 h 0 min here\n")


def test_plan_with_bad_input_is_bad_input() -> None:
    assert "no such folder" in only_line(full("--plan", "--data", "nowhere"))
    assert "--depths 1" in only_line(full("--plan", "--depths", "1"))


def test_plan_of_seeds_until_decided_says_when_it_would_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vgharness.training.estimate.expected_seconds", lambda *_: 60.0)
    result = full("--preset", "quick", "--seeds", "auto", "--most-seeds", "10", "--plan")
    assert result.exit_code == 0, result.output
    assert "round 1 of up to 3, 5 seeds: 10 networks to train" in result.output
    assert "judged at 5 (97.5 %), 7 (99 %), 10 (98.5 %), " in result.output
    assert result.output.endswith("wrong as seldom as one look at 95 %; with all of them 2 min 0 s\n")


def test_terminal_and_page_say_at_which_look_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_study(study: Study, images: ImageSet, *, command: str, **_: object) -> Run:
        assert study.rounds
        rounds = study.rounds.model_copy(update={"at": 2})
        results = [make_result("relu", seed, curve=[50.0]) for seed in range(42, 49)]
        cells = tuple(result.cell for result in results)
        stuck = make_reading("inconclusive", open_for_good=True, reason="one diverged")
        verdicts = [make_verdict("inconclusive"), make_verdict("inconclusive", stuck, claim="other")]
        return make_run(
            results, study=study.model_copy(update={"cells": cells, "rounds": rounds}), verdicts=tuple(verdicts)
        )

    monkeypatch.setattr("vgharness.study.run.run_study", run_study)
    result = full("--seeds", "auto")
    ended = "look 2 of up to 5, at 7 seeds: intervals are at 99.5 %, so that all looks together are wrong as seldom"
    assert f"seeds until decided: {ended}" in result.output
    assert (
        "\nseeds alone do not decide other-script: one diverged\nmore seeds could decide it-is-so-script\n"
        in result.output
    )
    assert ended in Path("reports/index.html").read_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "claims.toml: cannot be read"),
        ("[document", "claims.toml: not valid TOML"),
        (CLAIMS.replace("at = 1", "when = 1"), "claims.toml: claim 'learns': reading 1: when: unknown key"),
    ],
)
def test_wrong_claims_are_found_before_anything_else(
    text: str | None, complaint: str, asked: list[tuple[Study, ImageSet]]
) -> None:
    if text is not None:
        Path("claims.toml").write_text(text)
    before = everything_here()
    for more in ((), ("--plan",)):
        result = full("--claims", "claims.toml", *more)
        assert (result.exit_code, result.stdout) == (2, "")
        assert complaint in only_line(result)
    assert (everything_here(), asked) == (before, [])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Study, ImageSet]]:
    """What the command asked ``run_study`` for, which then does not take its time."""
    calls = []

    def run_study(study: Study, images: ImageSet, *, command: str, **_: object) -> Run:
        calls.append((study, images))
        return make_run([make_result(status="failed")], command=command)

    monkeypatch.setattr("vgharness.study.run.run_study", run_study)
    return calls


def test_the_default_without_a_gpu_is_quick(asked: list[tuple[Study, ImageSet]]) -> None:
    assert full().output.startswith("preset quick on cpu")
    assert asked[0][0] == presets.plan("quick")


def test_the_number_of_jobs_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = []

    def run_study(*_: object, **options: object) -> Run:
        jobs.append(options["jobs"])
        return make_run([make_result(status="failed")])

    monkeypatch.setattr("vgharness.study.run.run_study", run_study)
    full("--jobs", "3")
    full()
    assert jobs == [3, None]


def test_the_process_is_prepared(asked: list[tuple[Study, ImageSet]], monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    monkeypatch.setattr("vgharness.cli.full.configure_process", lambda: called.append(len(asked)))
    full()
    assert called == [0]  # before anything is trained


def test_options_reach_the_study(asked: list[tuple[Study, ImageSet]]) -> None:
    options = "--epochs 2 --seed 7,9 --activations gelu,silu --depths 2,6 --precision bf16 --out elsewhere/deep"
    result = full("--preset", "quick", *options.split())
    ((study, images),) = asked
    assert [(c.seed, c.depth, c.activation, c.epochs) for c in study.cells] == list(
        itertools.product((7, 9), (2, 6), ("gelu", "silu"), (2,))
    )
    assert (study.precision, images.provenance.kind, images.provenance.train_images) == ("bf16", "synthetic", 32)
    assert Path("elsewhere/deep/index.html").exists()
    assert re.search(
        r"warning: at bf16 gradients are off by up to [\d.]+ % from float64's \(script (gelu|silu)", result.output
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--epochs", "0"], "--epochs 0: give 1 or more"),
        (["--epochs", "-3"], "--epochs -3: give 1 or more"),
        (["--seeds", "0"], "--seeds 0: give 1 or more"),
        (["--jobs", "0"], "--jobs 0: give 1 or more"),
        (["--seeds", "-1"], "--seeds -1: give 1 or more"),
        (["--seed", "-1"], "--seed -1: a seed is 0 or more"),
        (["--seed", "a,b"], "--seed a,b: give seeds like 42,43,44"),
        (["--seeds", "2", "--seed", "42"], "give one of them"),
        (["--seeds", "few"], "--seeds few: give how many, or auto: until all is decided"),
        (["--seeds", "auto", "--seed", "42"], "give one of them"),
        (["--seeds", "auto", "--most-seeds", "4"], "--most-seeds 4: give 5 or more"),
        (["--seeds", "5", "--most-seeds", "9"], "--most-seeds 9: it is of --seeds auto"),
        (["--activations", "sigmoid,swoosh"], "'swoosh' is not known; use sigmoid, tanh, relu, gelu, silu"),
        (["--depths", "1"], "a depth is 2 to 10"),
        (["--seeds", "1000000"], "--seeds 1000000: give 100,000 at most"),
        (["--seeds", "60000", "--norm", "none,batch", "--width", "1,2,3,4"], "cells: 1,000,000 are the most"),
        (["--width", "0"], "--width 0: each is above 0 and at most 64"),
        (["--width", "wide"], "--width wide: give numbers like 0.5,1"),
        (["--norm", "layer"], "--norm: 'layer' is not known; use none, batch"),
        (["--init", "he"], "--init: 'he' is not known; use default, xavier, kaiming"),
        (["--optimizer", "adamw"], "--optimizer: 'adamw' is not known; use adam, sgd"),
        (["--learning-rate", "nan"], "--learning-rate nan: each is above 0"),
        (["--schedule", "step"], "--schedule: 'step' is not known; use constant, cosine"),
        (["--data", ""], "--data is empty: give cifar10, synthetic or a folder"),
        (["--preset", "huge"], "--preset huge: use one of quick, script, readme, full"),
        (["--precision", "fp16"], "--precision fp16: use fp32, tf32, bf16"),
        (["--precision", "tf32"], "only a CUDA GPU has it"),
        (["--device", "gpu"], "--device gpu: use auto, cpu, cuda or cuda:N"),
        (["--device", "mps"], "--device mps: use auto, cpu, cuda or cuda:N"),
        (["--data", "nowhere"], "--data nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line_that_names_the_fix(arguments: list[str], complaint: str) -> None:
    Path("reports").mkdir()
    Path("reports/index.html").write_text("an earlier page")
    result = full("--preset", "quick", *arguments)
    assert result.exit_code == 2
    assert complaint in only_line(result)
    assert Path("reports/index.html").read_text() == "an earlier page"
    assert not list(Path(".gradflow").glob("*/*.json"))


def test_cuda_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = full("--device", "cuda")
    assert result.exit_code == 2
    assert "sees no CUDA GPU here; use --device cpu" in only_line(result)


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert "use cuda:0 to cuda:1" in only_line(full("--device", "cuda:5"))


def hostile_outputs() -> Iterator[tuple[str, TextIO]]:
    """Outputs that cannot hold what is printed: a terminal without most symbols, a closed pipe, a full disk."""
    for encoding in ("ascii", "cp1252"):
        yield encoding, TextIOWrapper(BytesIO(), encoding=encoding)
    reader, writer = os.pipe()
    os.close(reader)
    yield "closed pipe", open(writer, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    full_disk = Path("full")
    try:
        os.mknod(full_disk, 0o666 | stat.S_IFCHR, os.makedev(1, 7))  # a node of our own that is always full
        yield "full disk", full_disk.open("w", encoding="utf-8", buffering=1)
    except OSError:
        return  # this user cannot make a device


def test_an_output_that_cannot_be_printed_to_ends_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = "--preset quick --device cpu --activations relu --exit-zero --out page"
    monkeypatch.setattr(sys, "argv", ["full", *arguments.split()])
    monkeypatch.setattr("vgharness.report.figures.sheet.written", lambda sheet: (b"", b""))
    for kind, stream in hostile_outputs():
        with monkeypatch.context() as patched:
            errors = StringIO()
            patched.setattr(sys, "stdout", stream)
            patched.setattr(sys, "stderr", errors)
            with pytest.raises(SystemExit) as ended:
                main()
        assert ended.value.code == 0, kind
        assert Path("page/index.html").stat().st_size > 10_000, kind
        shutil.rmtree("page")
        assert errors.getvalue() == (
            "vgharness: output cannot be written (No space left on device); the work goes on\n"
            if kind == "full disk"
            else ""
        )
        with contextlib.suppress(OSError):
            stream.close()


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_run_that_cannot_be_saved_is_shown_and_its_page_written(
    asked: list[tuple[Study, ImageSet]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgharness.storage.store.write_whole", full_disk)
    result = full("--exit-zero")
    assert result.exit_code == 4
    assert "was not saved (No space left on device)" in only_line(result)
    assert only_line(result).endswith("The whole run is in reports/run.json")
    assert "page written to reports/index.html" in result.stdout
    assert len(load_run(Path("reports/run.json")).results) == 1


def test_a_run_that_can_be_neither_saved_nor_shown_is_kept_elsewhere(
    asked: list[tuple[Study, ImageSet]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("vgharness.storage.store.write_whole", full_disk)
    monkeypatch.setattr("vgharness.report.study_page.write_whole", full_disk)
    result = full()
    assert result.exit_code == 4
    assert "architecture" in result.stdout or "not run" in result.stdout  # verdicts are printed all the same
    no_page, not_saved = result.stderr.splitlines()
    assert "the page was not written to reports (No space left on device)" in no_page
    assert load_run(Path(not_saved.rpartition("The whole run is in ")[2])).results


def test_a_page_that_cannot_be_written_after_all_costs_no_run(
    asked: list[tuple[Study, ImageSet]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgharness.report.study_page.write_whole", full_disk)
    result = full("--out", "my page")
    (saved,) = Path(".gradflow").glob("*/0001_*.json")
    assert result.exit_code == 4
    assert f"vgharness report {saved} --out 'my page'" in only_line(result)


def test_ctrl_c_while_the_page_is_drawn_loses_nothing_and_says_what_is_true(
    asked: list[tuple[Study, ImageSet]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vgharness.report.study_page.draw", draw)
    result = full()
    (saved,) = Path(".gradflow").glob("*/0001_*.json")
    assert result.exit_code == 130
    assert only_line(result) == (
        f"vgharness.full: interrupted: trained and saved as {saved}; the page was not written: vgharness report {saved}"
    )


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_while_it_is_judged_or_saved_loses_nothing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    number = getattr(signal, name)
    # Whatever pytest was started with: what runs in the background may be told to ignore it.
    before = signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)

    def run_study(*_: object, **__: object) -> Run:
        os.kill(os.getpid(), number)
        return make_run([make_result(status="failed")])

    monkeypatch.setattr("vgharness.study.run.run_study", run_study)
    try:
        result = full()
    finally:
        signal.signal(number, before)
    assert result.exit_code == 130
    assert "trained and saved as .gradflow/" in only_line(result)
    assert not Path("reports/index.html").exists()


def test_ctrl_c_before_the_training_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vgharness.data.images.load_images", load)
    result = full()
    assert (result.exit_code, only_line(result)) == (130, "vgharness.full: interrupted before the training began")


def test_the_same_command_goes_on_and_fresh_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    from vgharness.study.progress import StudyProgress

    def interrupt(self: Callback, cell: Cell, *_: object) -> None:
        if cell.activation == "relu":
            raise KeyboardInterrupt

    monkeypatch.setattr("vgharness.report.study_page.draw", lambda run: [])  # figures take their time
    both = ("--jobs", "1", "--activations", "sigmoid,relu")
    with monkeypatch.context() as patched:
        patched.setattr(StudyProgress, "step_done", interrupt)
        first = full(*both)
    assert "The same command goes on from there" in first.output
    status = CliRunner().invoke(app, ["status"]).output
    assert "quick: 1 of 2 networks done, 0 failed, 1 begun; ended\n" in status
    assert "  script relu seed 42: epoch 0 of 1 kept\n" in status
    assert "  to go on: python -m vgharness.full --preset quick --device cpu" in status
    second = full(*both)
    assert "resumed: 1 network done before; --fresh starts over" in second.output
    assert "script sigmoid seed 42, epoch 1" not in second.output
    run = load_run(next(Path(".gradflow").glob("*/0002_quick.json")))
    assert run.status == "finished"
    assert CliRunner().invoke(app, ["status"]).output == ".gradflow: no study is in work here\n"
    with monkeypatch.context() as patched:
        patched.setattr(StudyProgress, "step_done", interrupt)
        full(*both)
    third = full(*both, "--fresh")
    assert "resumed" not in third.output
    assert "script sigmoid seed 42, epoch 1" in third.output


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_this_machine_that_is_somebody_elses_is_found_before_the_training(
    asked: list[tuple[Study, ImageSet]],
) -> None:
    folder = Path(".gradflow") / f"{machine_prefix()}cpu"
    folder.mkdir(parents=True, mode=0o500)
    result = full()
    assert (result.exit_code, asked) == (2, [])
    assert str(folder) in only_line(result)


@pytest.mark.parametrize("name", ["index.html", "run.json", "grad_norms_per_layer.png"])
def test_a_page_that_cannot_be_written_is_found_before_the_training(
    name: str, asked: list[tuple[Study, ImageSet]]
) -> None:
    Path("out", name).mkdir(parents=True)
    result = full("--out", "out")
    assert result.exit_code == 2
    assert f"--out out/{name}: this is a folder, not a file; give another file" in only_line(result)
    assert asked == []


@pytest.mark.parametrize("out", ["taken", "taken/below", "a" * 300])
def test_out_that_cannot_be_written(out: str) -> None:
    Path("taken").write_text("a file, not a folder")
    result = full("--out", out)
    assert result.exit_code == 2
    assert "--out" in only_line(result)
    assert Path("taken").read_text() == "a file, not a folder"


def test_an_image_that_is_the_wrong_size_is_named() -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            Path(split, name).mkdir(parents=True)
            Image.new("RGB", (32, 32) if name == "dog" else (31, 32)).save(Path(split, name, "1.png"))
    result = full("--data", ".")
    assert result.exit_code == 2
    assert "train/cat/1.png is 31×32 RGB, not 32×32 RGB" in only_line(result)


def test_ctrl_c_saves_a_partial_run_and_leaves_the_earlier_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from vgharness.study.progress import StudyProgress

    def interrupt(self: Callback, *_: object) -> None:
        raise KeyboardInterrupt

    Path("reports").mkdir()
    Path("reports/index.html").write_text("an earlier page")
    monkeypatch.setattr(StudyProgress, "step_done", interrupt)
    result = full()
    assert result.exit_code == 130
    (saved,) = Path(".gradflow").glob("*/0001_quick.json")
    assert load_run(saved).status == "interrupted"
    assert f"vgharness report {saved}" in result.output
    assert Path("reports/index.html").read_text() == "an earlier page"
    written = CliRunner().invoke(app, ["report", str(saved), "--out", "partial"])
    assert written.exit_code == 0
    assert "This run was interrupted." in Path("partial/index.html").read_text()


def test_watch_shows_the_page_while_it_trains_and_ends_with_that_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from vgharness.study.progress import StudyProgress

    started, begun, seen = StudyProgress.cell_started, [], ""

    def look(self: StudyProgress, cell: Cell) -> None:
        nonlocal seen
        started(self, cell)
        begun.append(cell)
        until = time.monotonic() + 60
        while len(begun) == 2 and "1 of 6 networks done" not in seen and time.monotonic() < until:
            seen = Path("reports/index.html").read_text()

    monkeypatch.setattr("vgharness.cli.watched_page._LEAST_SECONDS", 0.0)
    monkeypatch.setattr("vgharness.cli.watched_page._SHARE", 1.0)
    monkeypatch.setattr(StudyProgress, "cell_started", look)
    Path("reports").mkdir()
    Path("reports/index.html").write_text("an earlier page")
    result = full("--preset", "quick", "--jobs", "1", "--watch", "--exit-zero")
    assert result.exit_code == 0, result.output
    assert "1 of 6 networks done" in seen
    assert 'http-equiv="refresh"' in seen
    final = Path("reports/index.html").read_text()
    assert "Interim" not in final
    assert "http-equiv" not in final
    assert load_run(Path("reports/run.json")).status == "finished"
    assert not list(Path("reports").glob("index.earlier*"))
    assert "--watch" not in load_run(Path("reports/run.json")).command


def test_ctrl_c_while_watched_marks_the_page_and_keeps_the_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Callback, *_: object) -> None:
        raise KeyboardInterrupt

    Path("reports").mkdir()
    Path("reports/index.html").write_text("an earlier page")
    monkeypatch.setattr("vgharness.study.progress.StudyProgress.step_done", interrupt)
    result = full("--watch")
    assert result.exit_code == 130
    assert "reports/index.html shows what there is; the page that was there before is kept as" in result.output
    assert "This run was interrupted." in Path("reports/index.html").read_text()
    assert Path("reports/index.earlier.html").read_text() == "an earlier page"


@pytest.mark.parametrize(
    ("outcomes", "changes", "status"),
    [
        (["reproduced", "not run"], {}, 0),
        (["not run"], {}, 1),
        (["reproduced", "not reproduced"], {}, 1),
        (["reproduced", "inconclusive"], {}, 1),
        (["reproduced", "mixed"], {}, 1),
        (["error"], {}, 1),
        (["reproduced"], {"status": "failed"}, 3),
        (["not reproduced"], {"status": "diverged"}, 3),
    ],
)
def test_exit_status(outcomes: list[Outcome], changes: dict[str, str], status: int) -> None:
    run = make_run([make_result(curve=[10.0], **changes)], verdicts=tuple(map(make_verdict, outcomes)))
    assert exit_status(run) == status
    assert exit_status(run.model_copy(update={"status": "interrupted"})) == 130


def test_exit_zero_forgives_verdicts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = make_run([make_result(status="failed", reason="RuntimeError: x")], data=CANONICAL)
    monkeypatch.setattr("vgharness.cli.full._run", lambda *a, **k: failed)
    assert full("--exit-zero").exit_code == 3


def test_report_of_a_file_that_is_no_run() -> None:
    Path("run.json").write_text(json.dumps({"some": "thing"}))
    result = CliRunner().invoke(app, ["report", "run.json"])
    assert result.exit_code == 2
    assert "not a run of vgharness" in only_line(result)


def test_a_study_that_is_not_there_names_those_that_are() -> None:
    result = CliRunner().invoke(app, ["run", "depht"])
    assert result.exit_code == 2
    assert only_line(result).startswith(
        "vgharness run: depht: there is no such file, and no ready-made study of that name: depth, remedies, "
    )
