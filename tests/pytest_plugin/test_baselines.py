"""What later runs are held against, through pytest itself: what is kept of a session, and what is said to be gone."""

import json
import os
import re
from pathlib import Path

import pytest
from user_project import FLOWS, PROJECT, rewrite, run, saved

from vgharness.storage.store import load_session

pytestmark = pytest.mark.fast

TWO = """
def test_one(gradflow):
    gradflow(model, batch, loss, seeds=3)

def test_two(gradflow):
    gradflow(model, batch, loss, seeds=3, layers="0")
"""
GATE = ("--gradflow-compare=base.json", "--gradflow-compare-fail=signal_l2:-20%", "--gradflow-compare-fail=vanished")


@pytest.fixture
def two(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project of two tests with a baseline of both."""
    rewrite(pytester, TWO)
    run(pytester, "--gradflow-update=base.json").assert_outcomes(passed=2)
    return pytester


def base(project: pytest.Pytester) -> str:
    return (project.path / "base.json").read_text(encoding="utf-8")


def names_in(path: Path) -> list[str]:
    return [sample.test.partition("::")[2] for sample in load_session(path).samples]


# --- the file ------------------------------------------------------------------------------------------


def test_a_baseline_has_a_line_per_layer_and_nothing_that_changes_by_itself(two: pytest.Pytester) -> None:
    text = base(two)
    assert [line.split('"')[3] for line in text.splitlines() if line.startswith('   {"layer"')] == ["0", "2", "0"]
    assert not {"created", "commit", "command"} & json.loads(text).keys()
    assert max(len(digits) for digits in re.findall(r"\d\.0*([1-9]\d*)", text)) <= 6
    stamp = (two.path / "base.json").stat().st_mtime_ns
    result = run(two, "--gradflow-update=base.json")
    assert "baseline base.json: 2 unchanged" in result.stdout.str()
    assert (base(two), (two.path / "base.json").stat().st_mtime_ns) == (text, stamp)


def test_an_unchanged_model_compares_as_unchanged_in_spite_of_six_digits(two: pytest.Pytester) -> None:
    result = run(two, "--gradflow-compare=base.json", "--gradflow-compare-fail=signal_l2:0%", "-rA")
    result.assert_outcomes(passed=2)
    assert "no regressions" in result.stdout.str()
    assert "none changed" in run(two, "--gradflow-compare=base.json").stdout.str()


def test_a_diff_of_an_accepted_change_is_of_the_layers_that_changed(two: pytest.Pytester) -> None:
    before = base(two).splitlines()
    rewrite(two, TWO.replace("model, batch, loss, seeds=3)", "small, batch, loss, seeds=3)"))
    run(two, "--gradflow-update=base.json").assert_outcomes(passed=2)
    after = base(two).splitlines()
    assert len(before) == len(after)
    changed = [i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert [json.loads(after[i].strip().rstrip(","))["layer"] for i in changed] == ["0", "2"]
    assert "test_two" in after[changed[-1] + 2]


# --- red, accepted, green --------------------------------------------------------------------------------


def test_the_red_message_says_how_to_accept_and_that_turns_the_build_green(two: pytest.Pytester) -> None:
    rewrite(two, TWO.replace("model, batch, loss, seeds=3)", "small, batch, loss, seeds=3)"))
    result = run(two, *GATE)
    result.assert_outcomes(failed=1, passed=1)
    command = "pytest --gradflow-update=base.json test_model.py::test_one"
    lines = result.stdout.str().splitlines()
    assert f"to accept it: {command}" in lines
    verdict = f"FAILED: 1 test changed by more than a limit. To accept: {command}"
    assert verdict in lines
    kept = names_in(two.path / "base.json")
    result = run(two, *command.split()[1:])
    result.assert_outcomes(passed=1)
    assert "baseline base.json: 1 test written, 1 kept as before" in result.stdout.str()
    assert names_in(two.path / "base.json") == kept
    result = run(two, *GATE)
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK


def test_an_update_without_a_path_is_of_what_is_compared_with_and_fails_nothing(two: pytest.Pytester) -> None:
    rewrite(two, TWO.replace("model, batch, loss, seeds=3)", "small, batch, loss, seeds=3)"))
    run(two, *GATE, "--gradflow-update").assert_outcomes(passed=2)
    run(two, *GATE).assert_outcomes(passed=2)
    result = run(two, "--gradflow-update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "give the baseline's file, such as --gradflow-update=gradients.json" in result.stderr.str()


NOT_PASSED = {
    "failed": "def test_one(gradflow):\n    gradflow(small, batch, loss, seeds=3)\n    assert 0\n",
    "xfailed": "@pytest.mark.xfail\ndef test_one(gradflow):\n    gradflow(small, batch, loss, seeds=3)\n    assert 0\n",
    "skipped": "def test_one(gradflow):\n    gradflow(small, batch, loss, seeds=3)\n    pytest.skip()\n",
    "error": (
        "@pytest.fixture\ndef broken():\n    yield\n    raise ValueError\n"
        "def test_one(gradflow, broken):\n    gradflow(small, batch, loss, seeds=3)\n"
    ),
}


@pytest.mark.parametrize("outcome", NOT_PASSED)
def test_only_what_tests_measured_that_passed_is_a_baseline(two: pytest.Pytester, outcome: str) -> None:
    before = base(two)
    rewrite(two, f"{NOT_PASSED[outcome]}\n{TWO.partition('loss, seeds=3)')[2]}")
    result = run(two, "--gradflow-update=base.json", "--gradflow-save=main")
    assert base(two) == before
    assert "not taken, for they did not pass: test_model.py::test_one" in result.stdout.str()
    (path,) = saved(two)
    assert {x.test[-3:]: x.outcome for x in load_session(path).samples} == {"one": outcome, "two": "passed"}
    # Nothing is held against it, and its coming back is nothing new.
    rewrite(two, TWO)
    result = run(two, "--gradflow-compare=main", "--gradflow-compare-fail=new", "--gradflow-compare-fail=signal_l2:1%")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    assert f"of tests that did not pass: test_model.py::test_one ({outcome})" in result.stdout.str()


# --- what is gone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [["-k", "one"], ["test_model.py::test_one"], ["--deselect", "test_model.py::test_two"], ["--co"], ["-k", "none"]],
)
def test_what_is_left_out_is_not_gone(two: pytest.Pytester, options: list[str]) -> None:
    text = base(two)
    result = run(two, *GATE, "--gradflow-compare-fail=renamed", "--gradflow-compare-fail=new", *options)
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    assert not re.search("vanished:|renamed:|new:|FAILED", result.stdout.str())
    run(two, "--gradflow-update=base.json", *options)
    assert base(two) == text


def test_a_file_beside_the_ones_that_are_named_is_not_gone(two: pytest.Pytester) -> None:
    two.makepyfile(test_other=PROJECT + FLOWS)
    result = run(two, *GATE, "test_other.py")
    assert result.ret == pytest.ExitCode.OK
    assert not re.search("vanished:|renamed:", result.stdout.str())


def test_what_did_not_come_to_its_turn_is_not_gone_and_such_a_session_is_marked(two: pytest.Pytester) -> None:
    text = base(two)
    rewrite(two, "\ndef test_first():\n    assert 0\n" + TWO)
    result = run(two, "-x", *GATE, "--gradflow-save=main")
    assert "vanished:" not in result.stdout.str()
    rewrite(
        two, "\ndef test_first():\n    pass\n" + TWO + "\ndef test_last():\n    assert 0\n\ndef test_end():\n    pass\n"
    )
    result = run(two, "-x", "--gradflow-update=base.json", "--gradflow-save=main")
    assert "base.json is as it was, for the session is stopped; run it to its end" in result.stdout.str()
    assert base(two) == text
    assert [load_session(path).status for path in saved(two)] == ["stopped"]


def test_last_failed_gets_green(two: pytest.Pytester) -> None:
    two.makepyfile(test_other=PROJECT + "\ndef test_it():\n    assert 0\n")
    two.runpytest_inprocess(*GATE).assert_outcomes(passed=2, failed=1)
    two.makepyfile(test_other=PROJECT + "\ndef test_it():\n    pass\n")
    result = two.runpytest_inprocess("--lf", *GATE)
    assert "vanished:" not in result.stdout.str()
    assert result.ret == pytest.ExitCode.OK


def test_a_skipped_test_or_a_file_that_cannot_be_imported_is_not_gone(two: pytest.Pytester) -> None:
    for content in ("pytest.skip('no GPU', allow_module_level=True)\n", "1 / 0\n"):
        two.makepyfile(test_model=PROJECT + content + TWO)
        result = run(two, *GATE, "--gradflow-update=base.json")
        assert "vanished:" not in result.stdout.str()
        assert names_in(two.path / "base.json") == ["test_one", "test_two"]
    rewrite(two, TWO.replace("def test_two", "@pytest.mark.skip\ndef test_two"))
    assert run(two, *GATE).ret == pytest.ExitCode.OK


@pytest.mark.parametrize("test_two", ["", "def test_two(gradflow):\n    pass\n"])
def test_a_test_that_is_gone_or_measures_no_more_turns_the_session_red_and_that_is_its_last_line(
    two: pytest.Pytester, test_two: str
) -> None:
    rewrite(two, TWO.partition("\ndef test_two")[0] + test_two)
    result = run(two, "-W", "default", *GATE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    summary = result.stdout.str().partition(" gradient flow ")[2].splitlines()
    last = [line for line in summary if line and not line.startswith(("=", "-", " ", "test_model.py:"))]
    assert (
        "FAILED: test_model.py::test_two vanished (--gradflow-compare-fail=vanished). "
        "To accept: pytest --gradflow-update=base.json"
    ) in last
    result = run(two, "-W", "default", "--gradflow-update=base.json")
    assert "dropped, for they are gone: test_model.py::test_two" in result.stdout.str()
    assert run(two, "-W", "default", *GATE).ret == pytest.ExitCode.OK


def test_what_the_project_always_leaves_out_makes_no_session_partial(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\naddopts = -m 'not slow' --ignore=build\nmarkers = slow: slow\n")
    rewrite(pytester, TWO.replace("\ndef test_two", "\n@pytest.mark.slow\ndef test_two"))
    for options in ([], ["-m", "slow"], ["-k", "one or two"], ["test_model.py"], ["."]):
        run(pytester, "--gradflow-save=x", *options)
    found = [load_session(path) for path in saved(pytester)]
    assert [(x.status, x.left_out) for x in found] == [
        ("finished", ""),
        ("partial", "-m slow"),
        ("partial", "-k one or two"),
        ("partial", "test_model.py"),
        ("finished", ""),
    ]


# --- which session is compared with ---------------------------------------------------------------------


def test_the_latest_that_finished_is_compared_with_and_another_only_where_it_is_named(two: pytest.Pytester) -> None:
    run(two, "--gradflow-save=main")
    run(two, "--gradflow-save=main", "-k", "one")
    for which in ("", "=main"):
        text = run(two, f"--gradflow-compare{which}").stdout.str()
        assert re.search(r"passed over \S+0002_main.json: the session is partial", text)
        assert re.search(r"compared with \S+0001_main.json", text)
    text = run(two, "--gradflow-compare=2").stdout.str()
    assert "of what is compared with: the session is partial (-k one): not all tests are in it" in text


@pytest.mark.parametrize("which", ["none.json", "nobody", ""])
def test_what_is_not_there_yet_is_said_once_and_fails_only_on_request(two: pytest.Pytester, which: str) -> None:
    options = [f"--gradflow-compare={which}", "--gradflow-compare-fail=signal_l2:-20%"]
    result = run(two, *options)
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    assert result.stdout.str().count("nothing to compare with yet: ") == 1
    result = run(two, *options, "--gradflow-require-baseline")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "passed" not in result.stdout.str()


@pytest.mark.parametrize("option", ["--gradflow-compare", "--gradflow-update"])
def test_a_test_after_an_option_that_can_stand_alone_is_a_test(two: pytest.Pytester, option: str) -> None:
    (two.path / "more").mkdir()
    (two.path / "more" / "test_more.py").write_text("def test_more():\n    pass\n")
    run(two, "--gradflow-save=main")
    for argument, passed in (("test_model.py", 2), ("test_model.py::test_one", 1), ("more", 1)):
        given = (
            [option, argument] if option == "--gradflow-compare" else ["--gradflow-compare=base.json", option, argument]
        )
        run(two, *given).assert_outcomes(passed=passed)
    result = run(two, "--gradflow-compare", "base.json")
    assert "compared with base.json" in result.stdout.str()


def test_paths_are_relative_to_where_pytest_is_started_as_for_the_command(
    two: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.makeini("[pytest]\n")
    (two.path / "sub").mkdir()
    monkeypatch.chdir(two.path / "sub")
    options = ["--gradflow-json=session.json", "--gradflow-save=x", "--gradflow-compare=../base.json"]
    result = run(two, *options, "..", "--gradflow-compare-fail=vanished")
    result.assert_outcomes(passed=2)
    assert (two.path / "sub" / "session.json").is_file()
    assert list((two.path / "sub" / ".gradflow").rglob("0001_x.json"))
    rewrite(two, TWO.replace("model, batch, loss, seeds=3)", "small, batch, loss, seeds=3)"))
    result = run(two, "--gradflow-compare=../base.json", "--gradflow-compare-fail=signal_l2:-20%", "..")
    assert "To accept: pytest --gradflow-update=../base.json ../test_model.py::test_one" in result.stdout.str()


def test_a_path_in_the_ini_file_is_relative_to_it(two: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    two.makeini("[pytest]\ngradflow_compare = base.json\n")
    (two.path / "sub").mkdir()
    monkeypatch.chdir(two.path / "sub")
    assert "no regressions" in run(two, "..", "--gradflow-compare-fail=signal_l2:1%").stdout.str()


# --- whole sessions in files ----------------------------------------------------------------------------


def test_a_partial_or_red_session_takes_nothing_from_a_file_that_has_more(two: pytest.Pytester) -> None:
    run(two, "--gradflow-json=all.json")
    text = (two.path / "all.json").read_text()
    result = run(two, "--gradflow-json=all.json", "-k", "one")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "not saved: all.json holds what this session did not measure" in result.stdout.str()
    rewrite(two, TWO.replace("seeds=3)", "seeds=3)\n    assert 0", 1))
    run(two, "--gradflow-json=all.json").assert_outcomes(failed=1, passed=1)
    assert (two.path / "all.json").read_text() == text
    rewrite(two, TWO.partition("\ndef test_two")[0])
    assert run(two, "--gradflow-json=all.json").ret == pytest.ExitCode.OK  # whole and green: the other test is gone
    assert names_in(two.path / "all.json") == ["test_one"]


def test_a_session_is_not_written_over_a_baseline(two: pytest.Pytester) -> None:
    text = base(two)
    result = run(two, "--gradflow-json=base.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "this is a baseline, of which --gradflow-update=base.json writes what was measured" in result.stderr.str()
    assert base(two) == text


def test_a_sessions_file_that_was_the_baseline_so_far_becomes_one(two: pytest.Pytester) -> None:
    run(two, "--gradflow-json=old.json")
    run(two, "--gradflow-update=old.json", "-k", "one").assert_outcomes(passed=1)
    assert json.loads((two.path / "old.json").read_text())["kind"] == "baseline"
    assert names_in(two.path / "old.json") == ["test_one", "test_two"]


# --- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"schema_version": 2, "kind": "baseline", "samples": []}', r"newer vgharness .*upgrade vgharness"),
        ('{"schema_version": 1, "kind": "baseline", "samp', "was it cut off"),
        ('{"schema_version": 1, "kind": "baseline", "samples": [{"test": "a"}]}', "not a valid baseline: samples.0"),
        ('{"benchmarks": []}', "not a run of vgharness"),
        ("", "was it cut off"),
    ],
)
@pytest.mark.parametrize("option", ["--gradflow-compare", "--gradflow-update"])
def test_a_file_that_is_no_baseline_is_refused_before_anything_runs_and_left_alone(
    two: pytest.Pytester, content: str, reason: str, option: str
) -> None:
    (two.path / "base.json").write_text(content)
    result = run(two, f"{option}=base.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.stderr.str().splitlines() if "gradflow" in line]
    assert re.search(reason, line)
    assert base(two) == content


@pytest.mark.parametrize("option", ["--gradflow-compare", "--gradflow-update"])
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_a_pipe_or_a_folder_is_refused_at_once(two: pytest.Pytester, option: str, kind: str) -> None:
    (two.path / "base.json").unlink()
    (os.mkfifo if kind == "pipe" else os.mkdir)(two.path / "base.json")
    assert run(two, f"{option}=base.json").ret == pytest.ExitCode.USAGE_ERROR


def test_saved_sessions_are_never_updated(two: pytest.Pytester) -> None:
    run(two, "--gradflow-save=main")
    (path,) = saved(two)
    content = path.read_bytes()
    result = run(two, f"--gradflow-update={path}")
    assert "saved sessions are never changed; give another file" in result.stderr.str()
    assert path.read_bytes() == content


def test_a_full_disk_leaves_the_baseline_and_the_tests_outcome_and_the_rest_is_saved(
    two: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = base(two)
    rewrite(two, TWO.replace("model, batch, loss, seeds=3)", "small, batch, loss, seeds=3)"))

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vgharness.storage.baseline.write_whole", full)
    result = run(two, "--gradflow-update=base.json", "--gradflow-save=x")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "base.json: the baseline was not written (No space left on device)" in result.stdout.str()
    assert base(two) == text
    assert len(saved(two)) == 1


def test_names_with_newlines_and_surrogates_are_kept_and_shown_as_text(pytester: pytest.Pytester) -> None:
    rewrite(
        pytester, "\ndef test_it(gradflow):\n    gradflow(model, batch, loss, name='a\\n\\udc80\\x1b[31m', seeds=2)\n"
    )
    run(pytester, "--gradflow-update=base.json").assert_outcomes(passed=1)
    assert len([line for line in base(pytester).splitlines() if line.startswith('   {"layer"')]) == 2
    result = run(pytester, *GATE, "--color=no")
    result.assert_outcomes(passed=1)
    assert "\x1b" not in result.stdout.str()
    assert "no regressions" in result.stdout.str()


# --- how a session ends ---------------------------------------------------------------------------------

ENDS = {
    "interrupted": "def test_end():\n    raise KeyboardInterrupt\n",
    "crashed": "def test_end():\n    pass\n",  # with the conftest below
}
CRASH = "def pytest_runtest_logfinish(nodeid):\n    assert 'end' not in nodeid\n"


@pytest.mark.parametrize("status", ENDS)
def test_a_session_that_was_cut_short_is_marked_and_changes_no_baseline(two: pytest.Pytester, status: str) -> None:
    text = base(two)
    if status == "crashed":
        two.makeconftest(CRASH)
    rewrite(two, TWO.replace("(model", "(small").replace("\ndef test_two", f"\n{ENDS[status]}\ndef test_two"))
    options = ["--gradflow-update=base.json", "--gradflow-save=main", "--gradflow-json=out.json"]
    result = two.runpytest_inprocess("-p", "no:cacheprovider", *options, no_reraise_ctrlc=True)
    if status == "interrupted":  # after an error of its own pytest shows no summary
        assert f"base.json is as it was, for the session is {status}" in result.stdout.str()
    assert base(two) == text
    for path in (*saved(two), two.path / "out.json"):
        assert load_session(path).status == status
        assert names_in(path) == ["test_one"]
