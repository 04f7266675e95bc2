"""The options ``--gradflow-*`` and the ini settings of the same names."""

import re

import pytest
from user_project import FLOWS, rewrite, run, saved

# Pytester forgets what is first imported inside one of its sessions, and numpy and torch cannot be imported twice.
from vgharness.gradflow import measurement  # noqa: F401
from vgharness.pytest_plugin.options import OPTIONS, SEEDS, settle
from vgharness.report import tables  # noqa: F401

pytestmark = pytest.mark.fast

MIXED = (
    FLOWS
    + """
def test_plain():
    pass

def test_asks(request):
    request.getfixturevalue("gradflow")(model, batch, loss)

@pytest.mark.gradflow
def test_marked(request):
    request.getfixturevalue("gradflow")(model, batch, loss)
"""
)


@pytest.mark.parametrize(
    ("options", "outcomes"),
    [
        ((), {"passed": 4}),
        (("--gradflow-skip",), {"passed": 1, "skipped": 1, "deselected": 2}),
        (("--gradflow-only",), {"passed": 2, "deselected": 2}),
    ],
)
def test_tests_of_gradients_can_be_left_out_or_run_alone(
    project: pytest.Pytester, options: tuple[str, ...], outcomes: dict[str, int]
) -> None:
    rewrite(project, MIXED)
    run(project, *options).assert_outcomes(**outcomes)


SEEDS_OF_TESTS = """
def test_default(gradflow):
    print("default", len(gradflow(model, batch, loss).seeds))

@pytest.mark.gradflow(seeds=3)
def test_marked(gradflow):
    print("marked", len(gradflow(model, batch, loss).seeds))
    print("called", len(gradflow(model, batch, loss, seeds=2, name="b").seeds))
    print("listed", *gradflow(model, batch, loss, seeds=[7, 9], name="c").seeds)
"""


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ((), "5 3 2 7 9"),
        (("--gradflow-seeds=4",), "4 4 4 7 9"),
        (("-o", "gradflow_seeds=4"), "4 3 2 7 9"),
        (("-o", "gradflow_seeds=4", "--gradflow-seeds=6"), "6 6 6 7 9"),
        (("--gradflow-disable",), "1 1 1 7"),
        (("--gradflow-disable", "--gradflow-seeds=6"), "1 1 1 7"),
        (("--gradflow-seeds=auto",), "5 3 2 7 9"),  # without limits all is decided
    ],
)
def test_how_many_seeds(project: pytest.Pytester, options: tuple[str, ...], numbers: str) -> None:
    rewrite(project, SEEDS_OF_TESTS)
    result = run(project, "-s", *options)
    result.assert_outcomes(passed=2)
    printed = re.findall(r"^\.?(?:default|marked|called|listed) (.*)$", result.stdout.str(), re.MULTILINE)
    words = re.findall(r"(?:default|marked|called|listed) ([\d ]+)", result.stdout.str())
    assert " ".join(words) == numbers, printed


def test_seeds_are_added_until_a_limit_is_decided(project: pytest.Pytester) -> None:
    """A change of which three seeds cannot tell whether it is beyond the limit."""
    noisy = """
CHANGE = {change}

def noisy():
    made = model()
    made[2].weight.data *= CHANGE * torch.exp(0.2 * torch.randn(()))
    return made

def test_noisy(gradflow):
    print("seeds", len(gradflow(noisy, batch, loss).seeds))
"""
    limits = (
        "--gradflow-compare=own.json",
        "--gradflow-compare-fail=factor:-10%",
        "--gradflow-compare-fail=signal_l2:-10%",
        "-s",
    )
    rewrite(project, noisy.format(change=1.0))
    run(project, "--gradflow-json=own.json", "--gradflow-seeds=50")
    rewrite(project, noisy.format(change=0.75).replace("randn(())", "randn(9)[8]"))
    few = run(project, "--gradflow-seeds=3", *limits)
    few.assert_outcomes(passed=1)
    assert "may be chance" in few.stdout.str()
    enough = run(project, "--gradflow-seeds=auto", *limits)
    enough.assert_outcomes(failed=1)
    (seeds,) = re.findall(r"seeds (\d+)", enough.stdout.str())
    assert 5 < int(seeds) <= 50
    own = noisy.format(change=0.75).replace("def test", "@pytest.mark.gradflow(compare_fail='factor:-10%')\ndef test")
    rewrite(project, own.replace("randn(())", "randn(9)[8]"))
    run(project, "--gradflow-seeds=auto", "--gradflow-compare=own.json").assert_outcomes(failed=1)


def test_a_quick_look_compares_and_saves_nothing(project: pytest.Pytester) -> None:
    run(project, "--gradflow-json=own.json")
    rewrite(project, FLOWS.replace("model,", "small,"))
    result = run(project, "--gradflow-disable", "--gradflow-compare=own.json", "--gradflow-compare-fail=signal_l2:1%",
                 "--gradflow-save=x", "--gradflow-compare-fail=vanished")  # fmt: skip
    result.assert_outcomes(passed=1)
    assert not saved(project)
    assert "compared with" not in result.stdout.str()


SWEEP = """
@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("act", ["ReLU", "Sigmoid"])
def test_sweep(gradflow, act, width):
    def make():
        return nn.Sequential(nn.Linear(4, width), getattr(nn, act)(), nn.Linear(width, 2))
    gradflow(make, batch, loss, seeds=2, check=False)

@pytest.mark.parametrize("act", ["ReLU"])
def test_other(gradflow, act):
    gradflow(model, batch, loss, seeds=2, name="plain")
"""


def table(project: pytest.Pytester, *options: str) -> list[list[str]]:
    """The words of the summary's lines."""
    text = run(project, "--gradflow-name=short", *options).stdout.str()
    lines = text.partition("gradient flow =")[2].rpartition("\n=")[0].splitlines()[1:]
    return [line.split() for line in lines if line.strip("─= ")]


def test_a_table_for_each_test_with_a_row_for_each_case(project: pytest.Pytester) -> None:
    rewrite(project, SWEEP)
    found = table(project, "--gradflow-group-by=func", "--gradflow-columns=seeds,layers,diagnosis")
    assert found[:6] == [
        ["sweep"],
        ["test", "seeds", "layers", "diagnosis"],
        ["ReLU-2", "2", "2", "healthy"],
        ["ReLU-4", "2", "2", "healthy"],
        ["Sigmoid-2", "2", "2", "healthy"],
        ["Sigmoid-4", "2", "2", "healthy"],
    ]
    assert ["other"] in found
    assert ["ReLU", "plain", "2", "2", "healthy"] in found
    rewrite(project, FLOWS + FLOWS.replace("flows", "more"))
    assert table(project, "--gradflow-group-by=func", "--gradflow-columns=seeds") == [
        ["without", "parameters"], ["test", "seeds"], ["flows", "5"], ["more", "5"],
    ]  # fmt: skip


def test_other_ways_to_group(project: pytest.Pytester) -> None:
    rewrite(project, SWEEP)
    by_case = table(project, "--gradflow-group-by=param", "--gradflow-columns=seeds")
    assert [line for line in by_case if len(line) == 1][:2] == [["ReLU-2"], ["ReLU-4"]]
    assert ["sweep", "2"] in by_case
    by_name = table(project, "--gradflow-group-by=name", "--gradflow-columns=seeds")
    assert ["without", "a", "name"] in by_name
    assert ["plain"] in by_name
    together = table(project, "--gradflow-columns=total,min,max,factor,first,last")
    assert together[0] == ["all", "measurements"]
    assert together[1] == ["test", "total", "min", "max", "factor", "first", "last"]


def test_the_order_of_the_summary(project: pytest.Pytester) -> None:
    rewrite(project, SWEEP)
    as_run = table(project, "--gradflow-columns=total")[2:7]
    for by in ("total", "min", "factor"):
        found = table(project, "--gradflow-columns=total", f"--gradflow-sort={by}")[2:7]
        assert sorted(found, key=lambda line: float(line[-1])) == found
        assert sorted(found) == sorted(as_run)
    named = table(project, "--gradflow-columns=total", "--gradflow-sort=name")[2:7]
    assert [line[0] for line in named] == sorted(line[0] for line in named)
    run(project, "--gradflow-sort=problem").assert_outcomes(passed=5)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("long", "test_model.py::TestIt::test_it[1] (2 seeds)"),
        ("normal", "TestIt::test_it[1] (2 seeds)"),
        ("short", "it[1] (2 seeds)"),
    ],
)
def test_how_tests_are_named(project: pytest.Pytester, form: str, name: str) -> None:
    rewrite(
        project,
        "\nclass TestIt:\n    @pytest.mark.parametrize('x', [1])\n    def test_it(self, gradflow, x):\n"
        "        gradflow(model, batch, loss, seeds=2)\n",
    )
    assert name in run(project, f"--gradflow-name={form}").stdout.str().splitlines()


def test_every_option_is_a_setting_and_the_command_line_wins(project: pytest.Pytester) -> None:
    run(project, "--gradflow-json=own.json")
    project.makeini(
        "[pytest]\ngradflow_save = ours\ngradflow_html = page.html\ngradflow_storage = kept\n"
        "gradflow_compare = own.json\ngradflow_compare_fail =\n    signal_l2:20%\n    vanished\n"
        "gradflow_seeds = 3\ngradflow_columns = seeds\ngradflow_group_by = func\ngradflow_name = short\n"
        "gradflow_sort = name\n"
    )
    text = run(project, "--strict-config").stdout.str()
    assert "limits: signal_l2:20%, vanished" in text
    assert re.search(r"^ ?flows +3$", text, re.MULTILINE)
    assert "without parameters" in text
    assert (project.path / "page.html").exists()
    assert [path.name for path in (project.path / "kept").rglob("*.json")] == ["0001_ours.json"]
    result = run(project, "--gradflow-save=mine", "--gradflow-compare-fail=new", "--gradflow-seeds=2")
    assert "limits: new" in result.stdout.str()
    assert [path.name for path in (project.path / "kept").rglob("*.json")].count("0002_mine.json") == 1
    project.makeini("[pytest]\ngradflow_skip = true\n")
    run(project).assert_outcomes(deselected=1)


def test_a_worker_that_gets_the_settled_options_settles_them_alike(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\ngradflow_seeds = 4\ngradflow_columns = seeds,total\ngradflow_compare_fail =\n    new\n")
    config = project.parseconfig("--gradflow-sort=min", "--gradflow-storage=kept")
    settle(config)
    once = dict(vars(config.option)), config.stash[SEEDS]
    settle(config)
    assert (vars(config.option), config.stash[SEEDS]) == once
    assert config.stash[SEEDS] == (None, 4)
    assert config.option.gradflow_columns == ("seeds", "total")


def test_every_option_is_in_the_help(project: pytest.Pytester) -> None:
    text = run(project, "--help").stdout.str()
    for option in OPTIONS:
        assert f"--gradflow-{option.name}" in text
        assert f"{option.dest} (" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--gradflow-seeds=0",), "--gradflow-seeds '0': give a number of seeds, such as 5, or auto"),
        (("--gradflow-seeds=many",), "--gradflow-seeds 'many'"),
        (("--gradflow-seeds=99999999999",), "give a number of seeds"),
        (("-o", "gradflow_seeds=-1"), "gradflow_seeds '-1'"),
        (("--gradflow-sort=up",), "--gradflow-sort 'up': use run, name, min, total, factor, problem"),
        (("-o", "gradflow_sort=up"), "gradflow_sort 'up': use run"),
        (("--gradflow-columns=a,min",), "--gradflow-columns 'a': use seeds,layers"),
        (("--gradflow-group-by=x",), "--gradflow-group-by 'x': use param, name, func"),
        (("--gradflow-name=x",), "--gradflow-name 'x': use short, normal, long"),
        (("--gradflow-skip", "--gradflow-only"), "--gradflow-skip and --gradflow-only: give one of them"),
    ],
)
def test_a_bad_value_is_one_line(project: pytest.Pytester, options: tuple[str, ...], words: str) -> None:
    result = run(project, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.stderr.str().splitlines() if "gradflow" in line]
    assert words in line
