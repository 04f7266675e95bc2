"""The fixture and its mark, through pytest itself: what fails a test, and what it says."""

import xml.etree.ElementTree as ElementTree

import pytest
from user_project import rewrite, run

# Pytester forgets what is first imported inside one of its sessions, and numpy and torch cannot be imported twice.
from vgharness.gradflow import measurement
from vgharness.report import tables  # noqa: F401

pytestmark = pytest.mark.fast

SIGMOID = """
def sigmoid(depth):
    def make():
        hidden = [part for _ in range(depth - 1) for part in (nn.Linear(4, 4), nn.Sigmoid())]
        return nn.Sequential(*hidden, nn.Linear(4, 2))
    return make
"""


@pytest.mark.parametrize(
    ("mark", "model", "words"),
    [
        ("seeds=3, min_factor=1e-3, max_factor=1e3", "model", None),
        ("min_factor=0.1", "small", "expected at least 0.1"),
        ("max_factor=1e-20", "model", "expected at most 1e-20"),
        ("min_factor=0.1, quantity='weight_l2'", "small", "factor toward the input of weight_l2"),
        ("min_total=1e-3, max_total=1e3", "model", None),
        ("min_total=0.1", "small", "the factor toward the input of signal_l2 over the whole path is"),
        ("max_total=1e-20", "model", "over the whole path is"),
        ("expect='healthy'", "model", None),
        ("expect='healthy'", "faint", "vanishing from 0: ‖∂L/∂h‖₂ is"),
        ("expect='vanishing'", "model", "expected vanishing, found healthy"),
        ("expect='vanishing'", "faint", None),
        # Both of one mark hold.
        ("expect='healthy', max_factor=.0001", "model", "expected at most 0.0001"),
        ("expect='vanishing', min_factor=.5", "faint", "expected at least 0.5"),
        ("expect='vanishing', max_total=.5", "faint", None),
        ("quantity='nonsense', min_factor=1", "model", "quantity 'nonsense' is not measured: use signal_l2"),
    ],
)
def test_a_marks_limits_are_held_against_each_measurement(
    project: pytest.Pytester, mark: str, model: str, words: str | None
) -> None:
    rewrite(project, f"\n@pytest.mark.gradflow({mark})\ndef test_it(gradflow):\n    gradflow({model}, batch, loss)\n")
    result = run(project)
    result.assert_outcomes(**({"passed": 1} if words is None else {"failed": 1}))
    assert words is None or words in result.stdout.str()


def test_the_bare_fixture_fails_at_a_problem_in_the_words_of_check_with_a_bar_for_each_layer(
    project: pytest.Pytester,
) -> None:
    rewrite(project, f"{SIGMOID}\ndef test_it(gradflow):\n    gradflow(sigmoid(20), batch, loss)\n")
    result = run(project)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "vanishing from 32: ‖∂L/∂h‖₂ is" in text
    assert "░" in text
    rewrite(project, f"{SIGMOID}\ndef test_it(gradflow):\n    gradflow(sigmoid(20), batch, loss, check=False)\n")
    result = run(project)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["problem: vanishing from 32: *"])


@pytest.mark.parametrize("options", [(), ("-q",)])
def test_a_warning_is_noted_in_the_summary(project: pytest.Pytester, options: tuple[str, ...]) -> None:
    rewrite(project, f"{SIGMOID}\ndef test_it(gradflow):\n    gradflow(sigmoid(8), batch, loss)\n")
    result = run(project, *options)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*warning: vanishing from 8: ‖∂L/∂h‖₂ is *"])


def test_limits_without_the_check(project: pytest.Pytester) -> None:
    rewrite(
        project,
        "\n@pytest.mark.gradflow(max_total=1)\ndef test_it(gradflow):\n    gradflow(faint, batch, loss, check=False)\n",
    )
    run(project).assert_outcomes(passed=1)


def test_a_parameters_mark_is_closer_than_its_functions(project: pytest.Pytester) -> None:
    rewrite(
        project,
        "\n@pytest.mark.gradflow(min_factor=10)\n"
        "@pytest.mark.parametrize('x', [1, pytest.param(2, marks=pytest.mark.gradflow(min_factor=1e-9))])\n"
        "def test_it(gradflow, x):\n    gradflow(model, batch, loss)\n",
    )
    run(project).assert_outcomes(passed=1, failed=1)


def test_the_closest_mark_wins_and_none_takes_a_value_back(project: pytest.Pytester) -> None:
    rewrite(
        project,
        "\n@pytest.mark.gradflow(seeds=2, min_factor=10, min_total=10)\nclass TestAll:\n"
        "    @pytest.mark.gradflow(min_factor=1e-9, min_total=None)\n    def test_it(self, gradflow):\n"
        "        assert gradflow(model, batch, loss).seeds == (42, 43)\n",
    )
    run(project).assert_outcomes(passed=1)


# --- what guards nothing -------------------------------------------------------------------------------


def test_a_fixture_that_is_never_called_warns(project: pytest.Pytester) -> None:
    rewrite(project, "\n@pytest.mark.gradflow(min_factor=0.9)\ndef test_it(gradflow):\n    pass\n")
    result = run(project, "-W", "default")
    result.assert_outcomes(passed=1, warnings=1)
    text = " ".join(result.stdout.str().split())
    assert "GradFlowWarning: the test asks for the fixture gradflow and never calls it, so that its mark's" in text
    assert "min_factor=0.9 was held against nothing" in text
    run(project, "-W", "error").assert_outcomes(failed=1)
    run(project, "-W", "ignore::vgharness.GradFlowWarning").assert_outcomes(passed=1, warnings=0)


@pytest.mark.parametrize("body", ["pytest.skip()", "raise ValueError", "pytest.xfail()"])
def test_one_that_ended_before_it_could_call_does_not(project: pytest.Pytester, body: str) -> None:
    rewrite(project, f"\ndef test_it(gradflow):\n    {body}\n")
    assert "GradFlowWarning" not in run(project, "-W", "default").stdout.str()


def test_tests_of_unittest_do_so_too(project: pytest.Pytester) -> None:
    rewrite(
        project,
        """
import unittest

class TestOld(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _keep(self, gradflow):
        self.gradflow = gradflow

    def test_called(self):
        self.gradflow(model, batch, loss)

    def test_skipped(self):
        self.skipTest("not here")

    def test_failed(self):
        self.fail()

    def test_never_called(self):
        pass
""",
    )
    result = run(project, "-W", "default")
    result.assert_outcomes(passed=2, skipped=1, failed=1, warnings=1)
    result.stdout.fnmatch_lines(["test_model.py::TestOld::test_never_called"])


# --- what the user did wrong ---------------------------------------------------------------------------


MISTAKES = """
def broken_batch(seed):
    return {}["key"]

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 2)
    def forward(self, x):
        return self.inner(x) + undefined
"""


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("model(), batch, loss", "UsageError: the model factory is a Sequential: give a callable"),
        ("model, broken_batch, loss", "KeyError: 'key'"),
        ("Broken, batch, loss", "NameError: name 'undefined' is not defined"),
        ("model, batch, nn.CrossEntropyLoss", "UsageError: the loss is the class CrossEntropyLoss"),
        ("model, batch, loss, seeds=[1, 1]", "UsageError: seeds=[1, 1]: give how many"),
        ("model, batch, loss, seeds=True", "UsageError: seeds=True: give how many"),
        ("model, batch, loss, seeds=0", "UsageError: seeds: give one or more"),
        ("faint, batch, loss", "vanishing from 0"),
    ],
)
def test_only_the_users_own_lines_are_shown(project: pytest.Pytester, call: str, words: str) -> None:
    rewrite(project, f"{MISTAKES}\ndef test_it(gradflow):\n    gradflow({call})\n")
    result = run(project, "--tb=long")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert words in text
    assert f">       gradflow({call})" in text.replace(">    gradflow", ">       gradflow")
    assert "vgharness/" not in text.replace("vgharness/errors", "")
    assert "vgharness" not in " ".join(line for line in text.splitlines() if line.startswith(">"))


def test_a_fault_of_our_own_keeps_its_lines(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "worth_steps", None)
    result = run(project, "--tb=short")
    result.assert_outcomes(failed=1)
    assert "measurement.py" in result.stdout.str()


# --- other reports -------------------------------------------------------------------------------------


def test_a_passed_tests_gradients_are_in_junits_report(project: pytest.Pytester) -> None:
    rewrite(
        project,
        "\ndef test_it(gradflow):\n    gradflow(model, batch, loss)\n    gradflow(small, batch, loss, name='b')\n"
        "\ndef test_nan(gradflow):\n    gradflow(model, batch, lambda o: (o * float('nan')).sum(), check=False)\n",
    )
    run(project, "--junitxml=report.xml").assert_outcomes(passed=2)
    first, second = ElementTree.parse(project.path / "report.xml").getroot().iter("testcase")
    values = {each.get("name"): each.get("value") or "" for each in first.iter("property")}
    assert list(values) == [f"gradflow_{x}{y}" for y in ("", "[b]") for x in ("factor", "total", "diagnosis")]
    assert values["gradflow_diagnosis"] == "healthy"
    assert float(values["gradflow_total"]) == pytest.approx(float(values["gradflow_factor"]))
    assert 0.4 < float(values["gradflow_factor"]) < 0.6
    assert "nan" in [each.get("value") for each in second.iter("property")]


def test_a_tests_gradients_are_on_its_row_of_pytest_htmls_page(project: pytest.Pytester) -> None:
    """Without pytest-html: what it reads of a report, which it does not make itself."""
    project.makeconftest(
        "import pytest\n\nclass Html:\n    pass\n\ndef pytest_configure(config):\n"
        "    config.pluginmanager.register(Html(), 'html')\n"
        "def pytest_runtest_logreport(report):\n    if report.when == 'call':\n        print(report.extras)\n"
    )
    rewrite(project, "\ndef test_it(gradflow):\n    gradflow(model, batch, loss, name='a<b')\n")
    result = run(project, "-s")
    result.assert_outcomes(passed=1)
    assert "'format_type': 'html', 'content': '<p>gradflow_factor[a&lt;b] 0.46" in result.stdout.str()


def test_a_rerun_has_its_properties_once(project: pytest.Pytester) -> None:
    project.makeconftest(
        "from _pytest.runner import runtestprotocol\n"
        "def pytest_runtest_protocol(item, nextitem):\n"
        "    for _ in range(2):\n        reports = runtestprotocol(item, nextitem=nextitem, log=False)\n"
        "    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)\n"
        "    for report in reports:\n        item.ihook.pytest_runtest_logreport(report=report)\n"
        "    return True\n"
    )
    run(project, "--junitxml=report.xml").assert_outcomes(passed=1)
    assert (project.path / "report.xml").read_text(encoding="utf-8").count("gradflow_factor") == 1
