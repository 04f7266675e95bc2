"""The pytest plugin, through pytest itself."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from user_project import FLOWS, rewrite, run, saved

# Pytester forgets what is first imported inside one of its sessions, and numpy and torch cannot be imported twice.
from vgharness.gradflow import measurement  # noqa: F401
from vgharness.report import tables  # noqa: F401
from vgharness.storage.store import load_session

pytestmark = pytest.mark.fast

# --- the fixture ---------------------------------------------------------------------------------------


def test_a_measurement_passes_and_is_shown_from_input_to_output(project: pytest.Pytester) -> None:
    result = run(project)
    result.assert_outcomes(passed=1)
    text = result.stdout.str()
    assert "gradient flow" in text
    assert "test_model.py::test_flows" in text
    lines = text.partition("gradient flow")[2].splitlines()
    assert max(map(len, lines)) <= 80
    rows = [next(i for i, line in enumerate(lines) if line.split()[:1] == [name]) for name in "02"]
    assert rows == sorted(rows)


@pytest.mark.parametrize("option", ["-q", "-v", "--color=yes", "--color=no", "--tb=short"])
def test_the_summary_works_with(project: pytest.Pytester, option: str) -> None:
    result = run(project, option)
    result.assert_outcomes(passed=1)
    assert "test_flows" in result.stdout.str()
    if option == "--color=no":
        assert "\x1b" not in result.stdout.str()


def test_nothing_is_shown_where_nothing_was_measured(project: pytest.Pytester) -> None:
    rewrite(project, "\ndef test_nothing():\n    pass\n")
    assert "gradient flow" not in run(project).stdout.str()


def test_a_fresh_process_pays_nothing_for_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n    heavy = {'torch', 'scipy', 'rich', 'numpy'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    # rich and others may be there for other plugins' sake, so with none but this one.
    options = ["-p", "no:cacheprovider", "-p", "vgharness.pytest_plugin.plugin", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": ""},
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


SICK = {
    "nan": ("gradflow(model, batch, lambda o, t: (o - o).norm() + (o * float('nan')).sum())", "NaN or infinity"),
    "zero": ("gradflow(model, batch, lambda o, t: 0 * loss(o, t))", "exactly zero"),
    "missing": ("gradflow(Half, batch, loss)", "no gradient came to unused"),
}
HALF = """
class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(4, 2), nn.Linear(4, 2)
    def forward(self, x):
        return self.used(x)
"""


@pytest.mark.parametrize("problem", SICK)
def test_an_ill_gradient_fails_the_test_by_default_and_in_its_own_name(project: pytest.Pytester, problem: str) -> None:
    call, words = SICK[problem]
    rewrite(
        project,
        f"{HALF}\ndef test_sick(gradflow):\n    {call}\n\ndef test_well(gradflow):\n    gradflow(model, batch, loss)\n",
    )
    result = run(project, "--junitxml=report.xml")
    result.assert_outcomes(failed=1, passed=1)
    assert words in result.stdout.str()
    (failure,) = ElementTree.parse(project.path / "report.xml").getroot().iter("failure")
    assert words in (failure.get("message") or "") + (failure.text or "")
    unchecked = call[:-1] + ", check=False)"
    rewrite(project, f"{HALF}\ndef test_sick(gradflow):\n    {unchecked}\n")
    run(project).assert_outcomes(passed=1)


def test_several_measurements_in_one_test_need_names(project: pytest.Pytester) -> None:
    rewrite(
        project,
        "\ndef test_two(gradflow):\n    for name in 'ab':\n        gradflow(model, batch, loss, name=name)\n",
    )
    result = run(project, "--gradflow-json=out.json")
    result.assert_outcomes(passed=1)
    written = json.loads((project.path / "out.json").read_text())
    assert [sample["name"] for sample in written["samples"]] == ["a", "b"]
    rewrite(project, "\ndef test_two(gradflow):\n    gradflow(model, batch, loss)\n    gradflow(model, batch, loss)\n")
    result = run(project)
    result.assert_outcomes(failed=1)
    assert "give each its own name=" in result.stdout.str()


def test_quantities_layers_and_extra_info_are_saved(project: pytest.Pytester) -> None:
    rewrite(
        project,
        "\ndef test_own(gradflow):\n    own = {'largest': lambda g: g.abs().max()}\n"
        "    gradflow(model, batch, loss, seeds=2, layers='0', extra_info={'why': 'a try'}, quantities=own)\n",
    )
    run(project, "--gradflow-json=out.json").assert_outcomes(passed=1)
    (sample,) = json.loads((project.path / "out.json").read_text())["samples"]
    assert sample["extra_info"] == {"why": "a try"}
    assert [len(row) for row in sample["custom"]["largest"]] == [1, 1]
    assert sample["seeds"] == [42, 43]


# --- saving --------------------------------------------------------------------------------------------


def test_saving_numbers_runs_and_overwrites_none(project: pytest.Pytester) -> None:
    for _ in range(2):
        result = run(project, "--gradflow-save=first")
        assert "saved as" in result.stdout.str()
    run(project, "--gradflow-autosave")
    names = [path.name for path in saved(project)]
    assert names[:2] == ["0001_first.json", "0002_first.json"]
    assert names[2].startswith("0003_20")
    session = json.loads(saved(project)[0].read_text())
    assert (session["kind"], session["schema_version"]) == ("session", 3)
    assert session["samples"][0]["test"] == "test_model.py::test_flows"
    assert "--gradflow-save=first" in session["command"]


def test_another_storage_and_a_file_of_ones_own(project: pytest.Pytester) -> None:
    (project.path / "baselines").mkdir()
    run(project, "--gradflow-save=x", "--gradflow-storage=elsewhere", "--gradflow-json=baselines/main.json")
    assert list((project.path / "elsewhere").rglob("0001_x.json"))
    assert (project.path / "baselines/main.json").exists()
    assert not saved(project)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--gradflow-json=missing/main.json", "there is no folder"),
        ("--gradflow-json=.", "this is a folder"),
        ("--gradflow-json=pipe", "this is a pipe"),
        (f"--gradflow-json={'a' * 300}", "File name too long"),
        ("--gradflow-storage=test_model.py", "this is no folder"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_anything_runs(
    project: pytest.Pytester, option: str, reason: str
) -> None:
    os.mkfifo(project.path / "pipe")
    result = run(project, option, "--gradflow-save=x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.stderr.str().splitlines() if "gradflow" in line]
    assert reason in line
    assert "passed" not in result.stdout.str()


def test_names_from_outside_are_shown_as_they_are(project: pytest.Pytester) -> None:
    rewrite(
        project,
        """
@pytest.mark.parametrize("name", ["[red]a[/red]", "b\\x1b[31m", "c\\u202e", "d\\udc80"])
def test_names(gradflow, name):
    def model():
        net = nn.Sequential()
        net.add_module(f"layer {name.replace('.', '')}", nn.Linear(4, 2))
        return net
    gradflow(model, (torch.ones(3, 4), torch.zeros(3, dtype=torch.long)), nn.functional.cross_entropy, name=name)
""",
    )
    result = run(project, "--gradflow-save=x", "-k", "test_names", "--color=no")
    result.assert_outcomes(passed=4)
    text = result.stdout.str()
    assert "INTERNALERROR" not in text
    assert "layer [red]a[/red]" in text
    assert r"layer b\x1b[31m" in text
    assert r"layer c\u202e" in text
    assert r"layer d\udc80" in text
    (path,) = saved(project)
    assert len(load_session(path).samples) == 4


@pytest.mark.parametrize("name", ["a/b", "..", "a\nb", "", ".hidden"])
def test_a_name_that_is_no_files_is_refused_before_anything_runs(project: pytest.Pytester, name: str) -> None:
    result = run(project, f"--gradflow-save={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "name" in result.stderr.str()
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_a_session_without_measurements_saves_nothing_and_says_so(project: pytest.Pytester) -> None:
    rewrite(project, "\ndef test_nothing():\n    pass\n")
    result = run(project, "--gradflow-save=x")
    assert "nothing was measured, so nothing is saved" in result.stdout.str()
    assert not saved(project)


def test_a_full_disk_fails_the_session_and_says_so(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    run(project, "--gradflow-save=x")
    before = saved(project)[0].read_bytes()

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vgharness.storage.store.write_whole", full)
    result = run(project, "--gradflow-save=x")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "not saved" in result.stdout.str()
    assert "No space left on device" in result.stdout.str()
    assert [path.read_bytes() for path in saved(project)] == [before]


def test_what_a_failed_test_measured_is_saved_too(project: pytest.Pytester) -> None:
    rewrite(project, "\ndef test_it(gradflow):\n    gradflow(small, batch, loss).assert_flows(min_factor=0.1)\n")
    run(project, "--gradflow-save=x").assert_outcomes(failed=1)
    assert len(json.loads(saved(project)[0].read_text())["samples"]) == 1


def test_hooks_add_to_what_is_saved(project: pytest.Pytester) -> None:
    project.makeconftest(
        "def pytest_gradflow_machine_info(machine_info):\n    machine_info['rack'] = 7\n"
        "def pytest_gradflow_session(extra):\n    extra['ticket'] = 'X-1'\n"
    )
    run(project, "--gradflow-json=out.json").assert_outcomes(passed=1)
    extra = json.loads((project.path / "out.json").read_text())["extra"]
    assert (extra["ticket"], extra["machine_info"]) == ("X-1", {"rack": 7})


def test_what_a_hook_adds_must_be_json(project: pytest.Pytester) -> None:
    project.makeconftest("def pytest_gradflow_session(extra):\n    extra['model'] = object()\n")
    result = run(project, "--gradflow-json=out.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "not saved: what a hook added is no JSON" in result.stdout.str()


# --- comparing -----------------------------------------------------------------------------------------


def test_the_same_model_is_no_regression(project: pytest.Pytester) -> None:
    run(project, "--gradflow-save=main")
    result = run(project, "--gradflow-compare", "--gradflow-compare-fail=signal_l2:1%")
    result.assert_outcomes(passed=1)
    assert "compared with" in result.stdout.str()


def test_another_machine_is_said_once(project: pytest.Pytester) -> None:
    run(project, "--gradflow-json=own.json")
    assert "another machine" not in run(project, "--gradflow-compare=own.json").stdout.str()
    session = json.loads((project.path / "own.json").read_text())
    session["machine"] |= {"id": "Plan9-vax-py3.11-cpu", "versions": {"torch": "2.11.0"}}
    (project.path / "own.json").write_text(json.dumps(session))
    text = run(project, "--gradflow-compare=own.json", "--gradflow-compare-fail=signal_l2:1%").stdout.str()
    assert text.count("Plan9-vax-py3.11-cpu") == 1
    assert text.count("2.11.0") == 1


def test_a_regression_is_the_tests_own_failure(project: pytest.Pytester) -> None:
    run(project, "--gradflow-save=main")
    rewrite(project, FLOWS.replace("model,", "small,"))
    result = run(project, "--gradflow-compare=main", "--gradflow-compare-fail=signal_l2:-50%", "--junitxml=report.xml")
    result.assert_outcomes(failed=1)
    assert "INTERNALERROR" not in result.stdout.str()
    (failure,) = ElementTree.parse(project.path / "report.xml").getroot().iter("failure")
    text = (failure.get("message") or "") + (failure.text or "")
    assert "signal_l2" in text
    assert "p = " in text
    assert re.search(r"signal_l2 \S+ → \S+ \(-9\d\.\d%\), beyond signal_l2:-50%", text)
    # The other direction is no regression.
    run(project, "--gradflow-compare=1", "--gradflow-compare-fail=signal_l2:+50%").assert_outcomes(passed=1)
    # Without a limit a difference is shown, and fails nothing.
    run(project, "--gradflow-compare=1").assert_outcomes(passed=1)


def test_a_gone_test_is_said_and_fails_on_request(project: pytest.Pytester) -> None:
    run(project, "--gradflow-save=main")
    rewrite(project, "\ndef test_nothing():\n    pass\n")
    result = run(project, "--gradflow-compare")
    assert "vanished: test test_model.py::test_flows" in result.stdout.str()
    assert result.ret == pytest.ExitCode.OK
    assert run(project, "--gradflow-compare", "--gradflow-compare-fail=vanished").ret == pytest.ExitCode.TESTS_FAILED


def test_a_gone_layer_fails_its_test_on_request(project: pytest.Pytester) -> None:
    run(project, "--gradflow-save=main")
    rewrite(project, FLOWS.replace("loss)", "loss, layers='0')"))
    run(project, "--gradflow-compare", "--gradflow-compare-fail=vanished").assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gradflow-compare-fail=signal_l2:1%"], "give --gradflow-compare too"),
        (["--gradflow-json=own.json", "--gradflow-compare=own.json", "--gradflow-compare-fail=signal:1%"], "signal"),
    ],
)
def test_nothing_to_compare_with_is_one_line(project: pytest.Pytester, options: list[str], words: str) -> None:
    run(project, "--gradflow-json=own.json")
    result = run(project, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str()


def test_a_corrupt_run_is_passed_over_and_left_as_it_is(project: pytest.Pytester) -> None:
    run(project, "--gradflow-save=main")
    corrupt = saved(project)[0].with_name("0002_broken.json")
    corrupt.write_text('{"schema_version": 1, "kind": "sess')
    result = run(project, "--gradflow-compare", "--gradflow-save=next")
    result.assert_outcomes(passed=1)
    assert "0002_broken.json" in result.stdout.str()
    assert corrupt.read_text() == '{"schema_version": 1, "kind": "sess'
    assert [path.name for path in saved(project)] == ["0001_main.json", "0002_broken.json", "0003_next.json"]
