"""What the commands of ``vgharness bench`` print, write and refuse; never a time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vgharness.benchmarks import (
    check_overhead,
    gallery,
    gates,
    scaling,
    throughput,
    trainability,
    watch_overhead,
    zoo,
)
from vgharness.benchmarks.check_overhead import CheckCost, InProcess
from vgharness.benchmarks.gallery import HEALTHY, SICK, peers
from vgharness.benchmarks.gallery.peers import Peer
from vgharness.benchmarks.gates import Gate
from vgharness.benchmarks.random_networks import draw_networks
from vgharness.benchmarks.roofline import Ceilings
from vgharness.benchmarks.scaling import Cost, Growth
from vgharness.benchmarks.throughput import TrainSpeed
from vgharness.benchmarks.timing import Ratio
from vgharness.benchmarks.trainability import Trial
from vgharness.benchmarks.trainings import judging
from vgharness.benchmarks.trainings.judging import JudgedTraining, Report
from vgharness.benchmarks.watch_overhead import WatchCost
from vgharness.benchmarks.zoo import ZooModel
from vgharness.cli import bench_running
from vgharness.cli import main as cli

pytestmark = pytest.mark.fast


def test_probe_prints_ratios_and_writes_them(tmp_path: Path) -> None:
    target = tmp_path / "b.json"
    options = ["--rounds", "2", "--steps", "1", "--batch-size", "2", "--device", "cpu", "--json", str(target)]
    result = CliRunner().invoke(cli.app, ["bench", "probe", *options])
    assert result.exit_code == 0, result.output
    for words in ("readme relu", "script relu", "baseline way", "Ratios to the step without"):
        assert words in result.output
    written = json.loads(target.read_text())
    assert [cost["architecture"] for cost in written["costs"]] == ["readme", "script"]
    assert written["machine"]["versions"]["torch"]


def test_check_prints_ratios_and_the_goals_that_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check_costs(models: Any, seeds: int, rounds: int) -> list[CheckCost]:
        assert (list(models), seeds, rounds) == (["torchvision:resnet18", "torchvision:resnet50"], 4, 2)
        ratio = Ratio(median=1.1, low=1.05, high=1.15)
        part = InProcess(batch="images", passes=8, plain_seconds=2.5, measuring=ratio, choosing=ratio, both=ratio)
        costs = [("a\n", 1.0, 1400), ("b", 1.3, 1200)]
        return [
            CheckCost(
                model=name,
                seeds=seeds,
                rounds=rounds,
                parts=part,
                import_seconds=1.5,
                process=Ratio(median=process, low=0.9, high=1.4),
                process_per_seed=Ratio(median=1.9, low=1.8, high=2.0),
                memory_of_one=1000 * 2**20,
                memory=memory * 2**20,
            )
            for name, process, memory in costs
        ]

    monkeypatch.setattr(check_overhead, "check_costs", check_costs)
    target = tmp_path / "c.json"
    options = ["--models", "torchvision:resnet18,torchvision:resnet50", "--seeds", "4", "--rounds", "2"]
    result = CliRunner().invoke(cli.app, ["bench", "check", *options, "--json", str(target)])
    assert result.exit_code == 0, result.output
    for words in (
        "`vgharness check --seeds 4`, all imported",
        "a\\n 2.50 s 1.10 (1.05–1.15) 1.10 1.10 (1.05–1.15)",
        "b 8 1.50 s 1.30 (0.90–1.40) 1.90 1.20",
        "b: images; 1,000 MiB with one seed",
        "goal: process at most 1.20: missed by b",
        "goal: memory at most 1.30: missed by a\\n",
    ):
        assert words in " ".join(result.output.split()), result.output
    written = json.loads(target.read_text())
    assert [cost["model"] for cost in written["costs"]] == ["a\n", "b"]
    assert set(written["costs"][0]) == set(CheckCost.model_fields)
    assert written["machine"]["versions"]["torch"]


def test_train_prints_a_table_and_writes_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def train_speed(architecture: Any, device: Any, **options: Any) -> TrainSpeed:
        asked.append(options)
        return TrainSpeed(
            architecture=architecture,
            device=str(device),
            precision=options["precision"],
            baseline_images_per_s=1_000,
            careful_images_per_s=2_000,
            images_per_s=2_500,
            ratio=2.5,
            ratio_low=2.25,
            ratio_high=2.75,
            careful_ratio=Ratio(median=1.25, low=1.2, high=1.3),
            floor_images_per_s=5_000,
            flop_per_image=75e6,
            bytes_per_image=0.5e6,
            ceilings=Ceilings(flop_per_s=375e9, bytes_per_s=50e9),
            cells=2,
            images=options["images"],
            rounds=options["rounds"],
        )

    monkeypatch.setattr(throughput, "train_speed", train_speed)
    target = tmp_path / "b.json"
    options = ["--device", "cpu", "--rounds", "2", "--images", "1280", "--json", str(target)]
    result = CliRunner().invoke(cli.app, ["bench", "train", *options])
    assert result.exit_code == 0, result.output
    for words in (
        "baseline careful vgharness floor",
        "script fp32 1,000 2,000 2,500 5,000",
        "script 2.50 (2.25–2.75) 1.25 (1.20–1.30) 2.00",
    ):
        assert words in " ".join(result.output.split())
    assert "Baseline script: DataLoader with two workers" in result.output
    assert "script: 75.0 MFLOP and 0.50 MB an image; here 375 GFLOP/s and 50 GB/s" in result.output
    assert asked == [{"precision": "fp32", "rounds": 2, "images": 1280, "seeds": 1}] * 2
    written = json.loads(target.read_text())
    assert [row["architecture"] for row in written["rows"]] == ["readme", "script"]
    for row in written["rows"]:
        assert set(row) == set(TrainSpeed.model_fields)
    assert written["machine"]["versions"]["torch"]
    assert written["machine"]["processor"]


def test_scale_prints_what_grows_and_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def growth(axis: Any, architecture: Any, device: Any, images: int) -> Growth:
        cost = Cost(value=2, seconds=1.5, memory=3 * 2**20)
        return Growth(axis=axis, costs=(cost,), exponent=2.0, memory_per_step=2**20)

    monkeypatch.setattr(scaling, "growth", growth)
    target = tmp_path / "s.json"
    result = CliRunner().invoke(cli.app, ["bench", "scale", "--device", "cpu", "--json", str(target)])
    assert result.exit_code == 0, result.output
    for words in ("script ReLU, 1,024 images", "1.50 s", "3 MiB", "depth^2.00", "batch^2.00"):
        assert words in result.output
    assert "time grows as seeds^2.00; memory by 1.0 MiB for each network more" in result.output
    written = json.loads(target.read_text())
    assert [growth["axis"] for growth in written["axes"]] == ["seeds", "depth", "batch"]


def test_gallery_prints_what_each_tool_that_is_here_made_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "SICK", [x for x in SICK if x.name in ("sigmoid CNN", "detached trunk")])
    monkeypatch.setattr(gallery, "HEALTHY", [x for x in HEALTHY if x.name == "kaiming MLP"])
    monkeypatch.setattr(peers, "installed", lambda: {"vgharness": "0", "torchtest2": "1"})
    monkeypatch.setitem(peers.PEERS, "torchtest2", Peer("torchtest2", lambda model, batch: None))
    result = CliRunner().invoke(cli.app, ["bench", "gallery"])
    assert result.exit_code == 0, result.output
    assert "vgharness 0, torchtest2 1" in result.output
    assert "vgharness: 2 of 2 problems named, 2 seen; false alarms on 0 of 1 healthy models" in result.output
    assert "torchtest2: 0 of 2 problems named, 0 seen; false alarms on 0 of 1 healthy models" in result.output
    for words in ("detached trunk missing named missed", "kaiming MLP healthy quiet quiet"):
        assert words in " ".join(result.output.split())


def test_trainability_prints_confusion_matrices_and_how_scores_separate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (network,) = draw_networks(1, 1)

    def try_networks(count: int, seed: int) -> list[Trial]:
        assert (count, seed) == (5, 7)
        rows = [(1.0, "healthy", 30, 20), (0.1, "healthy", 60, 25), (1e-4, "warning", 80, None)]
        rows += [(1e-7, "problem", None, None), (1e-9, "problem", None, None)]
        return [
            Trial(
                network=network,
                grade=grade,
                diagnosis=grade,
                path_ratio=ratio,
                output_spread=1.0,
                adam_steps=adam,
                sgd_steps=sgd,
            )
            for ratio, grade, adam, sgd in rows
        ]

    monkeypatch.setattr(trainability, "try_networks", try_networks)
    target = tmp_path / "t.json"
    options = ["--networks", "5", "--seed", "7", "--json", str(target)]
    result = CliRunner().invoke(cli.app, ["bench", "trainability", *options], terminal_width=200)
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    for words in (
        "5 random networks, seed 7",
        "problem 0 2 0 2 0 2",
        "warning 0 1 1 0 1 0",
        "healthy 2 0 2 0 2 0",
        "path ratio with SGD 1.000 1.00 100 % 100 %",
        "path ratio neither 1.000 4.00 100 % 100 %",
        "output spread with SGD 0.500 0.00 0 % 100 %",
    ):
        assert words in output, output
    written = json.loads(target.read_text())
    assert len(written["trials"]) == 5
    assert set(written["trials"][0]) == set(Trial.model_fields)
    assert len(written["separations"]) == 9
    assert written["machine"]["versions"]["torch"]


def test_zoo_prints_false_alarms_refusals_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check_models(models: Any, seed: int) -> list[ZooModel]:
        assert (list(models), seed) == (["torchvision:resnet18", "torchvision:resnet34"], 3)
        common = {"parameters": 11_700_000, "seconds": 2.0, "memory": 3 * 2**29}
        return [
            ZooModel(model="a", outcome="healthy", text="healthy", **common),
            ZooModel(model="b", outcome="problem", text="dead at head", **common),
            ZooModel(model="c", outcome="warning", text="vanishing", **common),
            ZooModel(model="d\n", outcome="refused", text="no input", seconds=1.0),
            ZooModel(model="e", outcome="skipped", text="300 million parameters", seconds=1.0),
        ]

    monkeypatch.setattr(zoo, "check_models", check_models)
    target = tmp_path / "z.json"
    options = ["--models", "torchvision:resnet18,torchvision:resnet34", "--seed", "3", "--json", str(target)]
    result = CliRunner().invoke(cli.app, ["bench", "zoo", *options])
    assert result.exit_code == 0, result.output
    for words in (
        "a 11.7 M 2.0 1,536 MiB healthy",
        "b: problem: dead at head",
        "d\\n: refused: no input",
        "false alarms on 2 of 3 models (1 problem, 1 warning); 1 refused, 1 skipped; 8 s",
        "most memory of one process: 1.50 GiB, a",
    ):
        assert words in " ".join(result.output.split()), result.output
    written = json.loads(target.read_text())
    assert [model["outcome"] for model in written["models"]] == ["healthy", "problem", "warning", "refused", "skipped"]
    assert set(written["models"][0]) == set(ZooModel.model_fields)


def test_watch_prints_ratios_memory_and_the_goals_that_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch_cost(network: str, device: Any, **options: int) -> WatchCost:
        ratios = {every: Ratio(median=median, low=1.0, high=1.2) for every, median in ((1, 1.09), (10, 1.05), (100, 1))}
        return WatchCost(
            network=network,
            device=str(device),
            **options,
            step_seconds=0.05,
            ratios=ratios,
            memory=2**20,
            watched_memory=3 * 2**20,
        )

    monkeypatch.setattr(watch_overhead, "watch_cost", watch_cost)
    target = tmp_path / "w.json"
    options = ["--networks", "script,resnet18", "--rounds", "3", "--device", "cpu", "--json", str(target)]
    result = CliRunner().invoke(cli.app, ["bench", "watch", *options])
    assert result.exit_code == 0, result.output
    for words in (
        "script 50 ms 1.09 (1.00–1.20) 1.05 (1.00–1.20) 1.00 (1.00–1.20)",
        "resnet18: 1 MiB in use at most without a watch, 3 MiB with a snapshot at every step",
        "goal: every 1 at most 1.10: reached",
        "goal: every 10 at most 1.03: missed by script, resnet18",
    ):
        assert words in " ".join(result.output.split()), result.output
    assert [cost["ratios"]["10"]["median"] for cost in json.loads(target.read_text())["costs"]] == [1.05, 1.05]


def test_trainings_print_what_was_said_first_and_count_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge_trainings(trainings: Any) -> list[JudgedTraining]:
        assert len(trainings) == 24
        report = Report(kind="dead", model="", layer="fc1", began=6, told=7, severity="problem", evidence="all\n zero")
        common = {"seed": 1, "seconds": 1.0}
        return [
            JudgedTraining(training="a", expected="dead (fc1)", outcome="right", reports=(report,), **common),
            JudgedTraining(training="b", expected="x", outcome="missed", reports=(), birth_right=False, **common),
            JudgedTraining(training="c", expected=None, outcome="quiet", reports=(), **common),
            JudgedTraining(training="d", expected=None, outcome="alarm", reports=(report,), **common),
        ]

    monkeypatch.setattr(judging, "judge_trainings", judge_trainings)
    target = tmp_path / "t.json"
    result = CliRunner().invoke(cli.app, ["bench", "trainings", "--json", str(target)], terminal_width=200)
    assert result.exit_code == 0, result.output
    for words in (
        "a dead (fc1) dead (fc1), step 6, told at 7 right 0",
        "b: missed: nothing was said",
        "d: alarm: all\\n zero",
        "first reports are right: 1 of 2, 50 %",
        "false alarms: 1 of 2, 50 %",
        "a problem was told in 1 of 2; warnings in 0 of 2 healthy trainings; the birth of NaN is right in 0 of 1; 4 s",
    ):
        assert words in " ".join(result.output.split()), result.output
    assert [x["outcome"] for x in json.loads(target.read_text())["trainings"]] == ["right", "missed", "quiet", "alarm"]


def test_the_commands_configure_their_process(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(bench_running, "configure_process", lambda: called.append("bench"))
    for command in ("probe", "train", "scale"):
        CliRunner().invoke(cli.app, ["bench", command, "--device", "tpu"])
    assert called == ["bench"] * 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["probe", "--rounds", "1"], "--rounds 1: give 2 or more"),
        (["probe", "--steps", "0"], "--steps 0: give 1 or more"),
        (["probe", "--device", "tpu"], "--device tpu: use auto, cpu, cuda or cuda:N"),
        (["check", "--rounds", "1"], "--rounds 1: give 2 or more"),
        (["check", "--seeds", "0"], "--seeds 0: give 1 or more"),
        (["check", "--models", "torchvision:resnt18"], "torchvision:resnt18: torchvision has no such model"),
        (["train", "--rounds", "1"], "--rounds 1: give 2 or more"),
        (["train", "--images", "100"], "--images 100: give 1280 or more"),
        (["train", "--seeds", "0"], "--seeds 0: give 1 or more"),
        (["train", "--precision", "fp8"], "--precision fp8: use fp32, tf32, bf16"),
        (["train", "--precision", "tf32", "--device", "cpu"], "--precision tf32: only a CUDA GPU has it"),
        (["train", "--device", "tpu"], "--device tpu: use auto, cpu, cuda or cuda:N"),
        (["scale", "--architecture", "resnet"], "--architecture resnet: use readme or script"),
        (["scale", "--images", "1"], "--images 1: give 512 or more"),
        (["scale", "--json", "/proc/no/b.json"], "--json"),
        (["trainability", "--networks", "0"], "--networks 0: give 1 or more"),
        (["trainability", "--seed", "-1"], "--seed -1: give 0 or more"),
        (["watch", "--rounds", "1"], "--rounds 1: give 2 or more"),
        (
            ["watch", "--networks", "vgg", "--device", "cpu"],
            "--networks vgg: use readme, script",
        ),
        (["trainings", "--variants", "0"], "--variants 0: give 1 or more"),
        (["zoo", "--seed", "-1"], "--seed -1: give 0 or more"),
        (["zoo", "--models", "torchvision:resnt18"], "torchvision:resnt18: torchvision has no such model"),
        (["zoo", "--models", "nothing*"], "--models nothing*: no such model here"),
    ],
)
def test_bad_input_is_one_line(options: list[str], words: str) -> None:
    result = CliRunner().invoke(cli.app, ["bench", *options])
    assert result.exit_code == 2
    assert words in result.output
    assert len(result.output.splitlines()) == 1


def test_it_runs_as_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vgharness.bench", "train", "--rounds", "1"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "vgharness bench: --rounds 1: give 2 or more\n")


def test_gates_print_shares_and_the_goals_that_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_gates(builds: int) -> list[Gate]:
        return [
            Gate(network="50 layers", case=case, limits=limits, seeds=seeds, builds=builds, red=red)
            for case, limits, reds in (
                ("other seeds", ("signal_l2:20%",), (0, 2, 3, 1)),
                ("-10 %, same seeds", ("signal_l2:-5%",), (40, 40, 40, 39)),
            )
            for seeds, red in zip((3, 5, 6, 10), reds, strict=True)
        ]

    monkeypatch.setattr(gates, "run_gates", run_gates)
    target = tmp_path / "g.json"
    result = CliRunner().invoke(cli.app, ["bench", "gates", "--builds", "40", "--json", str(target)])
    assert result.exit_code == 0, result.output
    for words in (
        "50 layers other seeds 1 at 20% 0.0 5.0 7.5 2.5",
        "50 layers -10 %, same seeds 1 at -5% 100.0 100.0 100.0 97.5",
        "goal: at most 5 % red where nothing has changed: missed by 50 layers, other seeds, 6 seeds",
        "goal: always red: -10 %, same seeds, signal_l2:-5%: missed by 50 layers, -10 %, same seeds, 10 seeds",
    ):
        assert words in " ".join(result.output.split()), result.output
    assert [gate["red"] for gate in json.loads(target.read_text())["gates"]] == [0, 2, 3, 1, 40, 40, 40, 39]
    refused = CliRunner().invoke(cli.app, ["bench", "gates", "--builds", "0"])
    assert (refused.exit_code, "--builds 0: give 1 or more" in refused.output) == (2, True)
