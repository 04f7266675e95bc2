"""What a comparison with a baseline turns red, and what it does not, through pytest itself."""

import pytest

# Pytester forgets what is first imported inside one of its sessions, and numpy and torch cannot be imported twice.
from vgharness.gradflow import measurement  # noqa: F401
from vgharness.report import tables  # noqa: F401

pytestmark = pytest.mark.fast

PROJECT = """
import pytest
import torch
from torch import nn

class Times(torch.autograd.Function):
    '''Changes nothing but the gradient.'''
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()
    @staticmethod
    def backward(ctx, gradient):
        return ctx.factor * gradient, None

class Scaled(nn.Linear):
    factor = 1.0
    def forward(self, x):
        return super().forward(Times.apply(x, self.factor))

def network(factor):
    layers = [layer for _ in range(5) for layer in (nn.Linear(8, 8), nn.ReLU())]
    last = Scaled(8, 2)
    last.factor = factor
    return nn.Sequential(*layers, last)

def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 8, generator=generator), torch.randint(2, (16,), generator=generator)

loss = nn.functional.cross_entropy
"""


class Build:
    """A project with one test, of which one run is the baseline."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester

    def run(self, *options: str, factor: float = 1.0, seeds: object = 5) -> pytest.RunResult:
        """Runs the test with the gradient that comes to all layers but the last multiplied by ``factor``."""
        test = f"def test_it(gradflow):\n    gradflow(lambda: network({factor}), batch, loss, seeds={seeds})\n"
        self._pytester.makepyfile(test_model=f"{PROJECT}\n{test}")
        return self._pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly", *options)

    def compare(self, *limits: str, factor: float = 1.0, seeds: object = 5) -> pytest.RunResult:
        fail = [f"--gradflow-compare-fail={limit}" for limit in limits]
        return self.run("--gradflow-compare=base.json", *fail, factor=factor, seeds=seeds)


@pytest.fixture
def build(pytester: pytest.Pytester) -> Build:
    made = Build(pytester)
    made.run("--gradflow-json=base.json").assert_outcomes(passed=1)
    return made


def test_an_exact_halving_of_every_gradient_is_red_at_its_half(build: Build) -> None:
    result = build.compare("signal_l2:-50%", factor=0.5)
    result.assert_outcomes(failed=1)
    failed = [line for line in result.stdout.lines if "(-50.0%), beyond signal_l2:-50%" in line]
    assert len(failed) == 5


@pytest.mark.parametrize(
    ("factor", "limit"), [(0.9, "signal_l2:-5%"), (0.85, "signal_l2:-10%"), (1.2, "signal_l2:10%")]
)
def test_a_change_of_every_seed_is_red_though_seeds_are_farther_apart_than_it(
    build: Build, factor: float, limit: str
) -> None:
    build.compare(limit, factor=factor).assert_outcomes(failed=1)
    build.compare("signal_l2:-30%", factor=factor).assert_outcomes(passed=1)


def test_nothing_changed_is_said_to_be_unchanged_and_has_no_interval(build: Build) -> None:
    result = build.compare("signal_l2:0%", "factor:0")
    result.assert_outcomes(passed=1)
    table = result.stdout.str().partition(" gradient flow ")[2].partition("compared with")[0]
    assert table.count("unchanged") == 6
    assert "%" not in table.replace("95 %", "")
    assert "all unchanged" in build.compare().stdout.str()


@pytest.mark.parametrize("seeds", [3, 5])
def test_other_seeds_of_the_same_model_are_green(pytester: pytest.Pytester, seeds: int) -> None:
    build = Build(pytester)
    build.run("--gradflow-json=base.json", seeds=list(range(seeds)))
    limits = ("signal_l2:20%", "weight_l2:20%", "weight_mean_abs:20%", "factor:20%")
    result = build.compare(*limits, seeds=list(range(100, 100 + seeds)))
    result.assert_outcomes(passed=1)
    assert "beyond a limit, maybe by chance" in result.stdout.str()


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_or_two_seeds_turn_no_build_red_and_say_how_many_would(pytester: pytest.Pytester, seeds: int) -> None:
    build = Build(pytester)
    build.run("--gradflow-json=base.json", seeds=seeds)
    result = build.compare("signal_l2:-20%", factor=0.5, seeds=seeds)
    result.assert_outcomes(passed=1)
    told = "1 seed" if seeds == 1 else "2 seeds"
    lines = [x for x in result.stdout.lines if f"it may be chance: {told}; about 3 seeds on each side would tell" in x]
    assert len(lines) == 5
    assert all(line.startswith("test_model.py::test_it: ") for line in lines)


def test_what_may_be_chance_is_listed_with_the_seeds_that_would_tell(build: Build) -> None:
    result = build.compare("signal_l2:-5%", factor=0.7, seeds=list(range(100, 105)))
    result.assert_outcomes(passed=1)
    text = result.stdout.str()
    assert "no regressions in" in text
    result.stdout.re_match_lines([
        r"test_model\.py::test_it: \d+: signal_l2 \S+ → \S+ \(-\S+%\), beyond signal_l2:-5%, but it may be chance: "
        r"p = \S+, corrected for 6 decisions; about \d+ seeds on each side would tell"
    ])  # fmt: skip


@pytest.mark.parametrize("limit", ["signal_l2:-40", "signal_l2:40"])
def test_a_limit_that_forgot_its_percent_sign_is_refused_before_anything_runs(build: Build, limit: str) -> None:
    result = build.compare(limit, factor=0.5)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.stderr.lines if "gradflow" in line]
    assert line.endswith(f"it can never fall so far; give a share with a percent sign, such as {limit}%")
    assert "passed" not in result.stdout.str()


def test_without_a_limit_a_change_is_counted_and_nothing_is_claimed(build: Build) -> None:
    result = build.compare(factor=0.5)
    result.assert_outcomes(passed=1)
    text = result.stdout.str()
    assert "no regressions" not in text
    assert "compared, no limit given (--gradflow-compare-fail): " in text
    assert "changed by more than chance" in text
