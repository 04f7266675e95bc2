"""Whatever is wrong with one test fails that test at most; and what the plugin leaves alone."""

import json
import sys
from pathlib import Path

import pytest
from user_project import FLOWS, rewrite, run, saved

# Pytester forgets what is first imported inside one of its sessions, and numpy and torch cannot be imported twice.
from vgharness.gradflow import measurement
from vgharness.report import tables  # noqa: F401
from vgharness.storage.store import load_session

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ("min_facter=1", "mark gradflow: unknown keyword 'min_facter', use seeds, min_factor, max_factor, min_total"),
        ("0.5", "mark gradflow: give its values by name: seeds, min_factor"),
        ("seeds='5'", "seeds='5': give a number, such as 5, or a list of numbers"),
        ("seeds=True", "seeds=True: give a number"),
        ("min_total='small'", "min_total='small': give a number"),
        ("max_factor=float('nan')", "max_factor=nan: give a number"),
        ("expect='sick'", "expect='sick': use healthy, vanishing"),
        ("compare_fail=3", "compare_fail=3: give a limit, such as 'signal_l2:-20%'"),
        ("compare_fail='signal_l2'", "compare_fail: limit 'signal_l2': give QUANTITY:SIZE"),
    ],
)
def test_a_wrong_mark_is_an_error_of_its_test_alone(project: pytest.Pytester, mark: str, words: str) -> None:
    rewrite(
        project, f"\n@pytest.mark.gradflow({mark})\ndef test_it(gradflow):\n    gradflow(model, batch, loss)\n{FLOWS}"
    )
    result = run(project)
    result.assert_outcomes(errors=1, passed=1)
    assert words in result.stdout.str()


def test_a_mark_without_the_fixture_warns_and_one_of_a_class_or_module_does_not(project: pytest.Pytester) -> None:
    rewrite(
        project,
        "\npytestmark = pytest.mark.gradflow(seeds=2)\n"
        "\n@pytest.mark.gradflow(min_factor=1)\ndef test_alone():\n    pass\n"
        "\n@pytest.mark.gradflow(seeds=3)\nclass TestMixed:\n    def test_without(self):\n        pass\n"
        "    def test_with(self, gradflow):\n        assert len(gradflow(model, batch, loss).seeds) == 3\n",
    )
    result = run(project, "-W", "default")
    result.assert_outcomes(passed=3, warnings=1)
    assert "the mark gradflow has no effect" in result.stdout.str()


@pytest.mark.parametrize("mark", ["seeds=2", "seeds='2'"])
def test_a_fixture_that_is_asked_for_as_the_test_runs(project: pytest.Pytester, mark: str) -> None:
    rewrite(
        project,
        f"\n@pytest.mark.gradflow({mark})\ndef test_it(request):\n"
        "    assert len(request.getfixturevalue('gradflow')(model, batch, loss).seeds) == 2\n" + FLOWS,
    )
    result = run(project, "-W", "error")
    wrong = "'" in mark
    result.assert_outcomes(passed=1 if wrong else 2, failed=int(wrong))


ODD = "\nimport math\n\n@pytest.mark.parametrize('odd', ['\\ud800', 'a\\nb', '\\x1b[31m', 'x' * 5000])\n"


@pytest.mark.parametrize(
    "call",
    [
        "extra_info={'a': odd, odd: [odd, {odd: 1}]}",
        "name=odd",
        "name=odd, quantities={odd: lambda gradient: gradient.sum()}",
    ],
)
def test_odd_texts_end_nothing(project: pytest.Pytester, call: str) -> None:
    rewrite(project, f"{ODD}def test_odd(gradflow, odd):\n    gradflow(model, batch, loss, seeds=1, {call})\n{FLOWS}")
    for options in ((), ("-q",), ("--gradflow-group-by=func",)):
        result = run(project, "--gradflow-save=x", "--junitxml=report.xml", *options)
        result.assert_outcomes(passed=5)
        assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert [len(load_session(path).samples) for path in saved(project)] == [5, 5, 5]


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ("{'a': float('nan')}", "extra_info 'a': "),
        ("{'a': object()}", "extra_info 'a': "),
        ("{1: 2}", "extra_info 1: "),
        ("3", "extra_info is an int: give"),
    ],
)
def test_extra_info_that_is_no_json_fails_its_test_in_one_line(project: pytest.Pytester, info: str, words: str) -> None:
    rewrite(project, f"\ndef test_it(gradflow):\n    gradflow(model, batch, loss, extra_info={info})\n{FLOWS}")
    result = run(project, "--gradflow-json=out.json")
    result.assert_outcomes(failed=1, passed=1)
    (line,) = [line for line in result.stdout.str().splitlines() if line.startswith("E ")]
    assert words in line
    assert line.endswith("give JSON values by name")


def test_a_fault_in_the_comparison_fails_its_test_alone(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(project, FLOWS + "\ndef test_other():\n    pass\n")
    run(project, "--gradflow-json=own.json")

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("vgharness.pytest_plugin.comparing.Compared.regressions", broken)
    result = run(project, "--gradflow-compare=own.json")
    result.assert_outcomes(failed=1, passed=1)
    assert "gradflow: ZeroDivisionError" in result.stdout.str()


@pytest.mark.parametrize("option", ["--co", "--fixtures", "--fixtures-per-test"])
def test_nothing_is_said_or_written_where_no_test_runs(
    project: pytest.Pytester, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(project, "--gradflow-json=own.json")
    (project.path / "page").mkdir()
    before = sorted(project.path.iterdir())
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    result = run(project, option, "--gradflow-save=x", "--gradflow-compare=own.json", "--gradflow-html=page/a.html",
                 "--gradflow-compare-fail=vanished")  # fmt: skip
    assert result.ret == pytest.ExitCode.OK
    assert "gradient flow =" not in result.stdout.str()
    assert sorted(project.path.iterdir()) == before
    assert not list((project.path / "page").iterdir())


def test_names_of_two_measurements_are_told_apart_as_they_are_saved(project: pytest.Pytester) -> None:
    rewrite(
        project,
        "\ndef test_it(gradflow):\n    gradflow(model, batch, loss)\n    gradflow(model, batch, loss, name=' ')\n",
    )
    result = run(project)
    result.assert_outcomes(failed=1)
    assert "give each its own name=" in result.stdout.str()


# --- pytest's version ----------------------------------------------------------------------------------


ENTRY = Path(measurement.__file__).parents[1] / "pytest_plugin" / "entry.py"


def test_the_entry_point_is_the_one_that_looks_at_pytests_version() -> None:
    text = (ENTRY.parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert 'vgharness = "vgharness.pytest_plugin.entry"' in text
    assert '"pytest>=8.2",' in text.partition("dependencies = [")[2].partition("]")[0]


def test_an_older_pytest_fails_the_tests_that_ask_for_the_fixture_with_one_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        "import pytest\ndef test_other():\n    pass\n@pytest.mark.gradflow\ndef test_it(gradflow):\n    pass\n"
    )
    monkeypatch.setattr(pytest, "__version__", "7.4.4")
    monkeypatch.delitem(sys.modules, "vgharness.pytest_plugin.entry", raising=False)
    result = pytester.runpytest_inprocess(
        "-p", "no:vgharness", "-p", "vgharness.pytest_plugin.entry", "--strict-markers", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["vgharness needs pytest 8.2 or newer, this is 7.4.4: pip install 'pytest>=8.2'"])


# --- where it is shown ---------------------------------------------------------------------------------


def test_a_summary_is_added_to_githubs_page(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    page = project.path / "summary.md"
    page.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    rewrite(project, FLOWS + "\ndef test_faint(gradflow):\n    gradflow(faint, batch, loss)\n")
    run(project, "--gradflow-json=own.json").assert_outcomes(passed=1, failed=1)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n### Gradient flow\n")
    assert "| `test_model.py::test_flows` |" in text
    assert "| `test_model.py::test_faint` | 4.04e-10 | 4.04e-10 | 4.04e-10 | vanishing |" in text
    assert r"- test\_model.py::test\_faint: problem: vanishing from 0" in text
    run(project, "--gradflow-compare=own.json")
    assert "no limit given (--gradflow-compare-fail): all unchanged" in page.read_text(encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path))
    result = run(project)
    result.assert_outcomes(passed=1, failed=1)
    assert "nothing was added to GITHUB_STEP_SUMMARY" in result.stdout.str()


def test_a_page_of_the_session(project: pytest.Pytester) -> None:
    result = run(project, "--gradflow-html=page.html")
    assert "page written to page.html" in result.stdout.str()
    assert "test_flows" in (project.path / "page.html").read_text(encoding="utf-8")
    assert not saved(project)
    assert run(project, "--gradflow-html=no/page.html").ret == pytest.ExitCode.USAGE_ERROR


def test_per_test_limits_go_together_with_the_sessions(project: pytest.Pytester) -> None:
    run(project, "--gradflow-json=own.json").assert_outcomes(passed=1)
    rewrite(project, "\n@pytest.mark.gradflow(compare_fail='signal_l2:-50%')" + FLOWS.replace("model,", "small,"))
    result = run(project, "--gradflow-compare=own.json")
    result.assert_outcomes(failed=1)
    assert "beyond signal_l2:-50%" in result.stdout.str()
    run(project).assert_outcomes(passed=1)
    assert json.loads((project.path / "own.json").read_text())["samples"]
