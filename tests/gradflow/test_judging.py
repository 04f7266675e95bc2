"""What is beyond a limit and what may be so by chance: seed by seed or not, at the limit, for a whole build."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from samples import SPREAD, change, compared, sample, session, times
from scipy import stats

from vgharness.gradflow.comparison import Comparison, compare, compare_samples
from vgharness.gradflow.judging import SIGNIFICANCE, judge, number_of_decisions
from vgharness.gradflow.limits import parse_failures, parse_limit
from vgharness.gradflow.more_seeds import MOST_LOOKS, further_seeds
from vgharness.gradflow.pairs import Pair
from vgharness.records import LayerKey, Sample
from vgharness.statistics import holm

pytestmark = pytest.mark.fast

APART = (1.0, 3.0, 9.0, 27.0, 81.0, 243.0, 1.7, 5.1)  # seeds whose values are far from each other
NOISE = (0.97, 1.02, 1.0, 0.99, 1.03, 1.01, 0.98, 1.0)


def moved(factor: float, noise: Sequence[float] = NOISE, count: int = 5) -> tuple[Sample, Sample]:
    """The same seeds before and after, each multiplied by ``factor`` and a noise of its own."""
    after = [factor * x * e for x, e in zip(APART, noise, strict=True)]
    return sample(APART[:count]), sample(after[:count])


# --- seed by seed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_a_fall_in_every_seed_is_seen_though_the_seeds_are_far_apart(count: int) -> None:
    before, after = moved(0.5, count=count)
    found = change(compared(before, after, "signal_l2:-20%"))
    expected = stats.ttest_rel(
        np.log(APART[:count]) + math.log(1 - 0.1995),
        [math.log(flow.layers[0].signal_l2 or 0) for flow in after.flows],
        alternative="greater",
    )
    assert (found.outcome, found.same_seeds, found.p) == ("regression", True, pytest.approx(expected.pvalue))
    others = after.model_copy(update={"seeds": tuple(range(100, 100 + count))})
    unpaired = change(compared(before, others, "signal_l2:-20%"))
    assert (unpaired.outcome, unpaired.same_seeds) == ("inconclusive", False)


@pytest.mark.parametrize("text", ["signal_l2:-50%", "signal_l2:50%", "signal_l2:-49.9%", "signal_l2:-0.5"])
def test_an_exact_halving_reaches_its_limit_and_falls_short_of_one_beyond(text: str) -> None:
    """Each side's last digits come from elsewhere: of float32, of the six that a baseline file keeps."""
    before = [1.000001, 1.000002, 1.0, 0.999999, 1.000001]
    after = [0.5000002, 0.500001, 0.4999998, 0.5, 0.5000003]
    assert change(compared(sample(before), sample(after), text)).outcome == "regression"
    assert change(compared(sample(times(1)), sample(times(0.5)), "signal_l2:-50.1%")).outcome == "within"


def test_the_near_end_of_the_interval_decides_and_not_the_mean() -> None:
    noise = (1.3, 0.8, 1.1, 0.7, 1.2, 1.0, 1.0, 1.0)
    found = change(compared(*moved(0.7, noise), "signal_l2:-20%"))
    assert found.change is not None
    assert found.change < -0.2 < found.high  # type: ignore[operator]
    assert found.outcome == "inconclusive"
    assert found.reason.startswith("beyond signal_l2:-20%, but it may be chance: p = 0.")
    assert change(compared(*moved(0.7), "signal_l2:-20%")).outcome == "regression"


def test_a_change_within_its_limit_is_no_regression_however_sure() -> None:
    found = change(compared(sample(times(1)), sample(times(0.85)), "signal_l2:20%"))
    assert (found.outcome, found.reason, found.p, found.limited) == ("within", "", None, True)


@pytest.mark.parametrize("seeds", [range(2), range(10, 12)])
@pytest.mark.parametrize("count", [1, 2])
def test_under_three_seeds_nothing_fails_by_its_size(count: int, seeds: Sequence[int]) -> None:
    found = change(compared(sample(times(1, count)), sample(times(1e-9, count), seeds=seeds[:count]), "signal_l2:-20%"))
    assert (found.outcome, found.p, found.seeds_to_tell) == ("inconclusive", None, 3)
    many = "1 seed" if count == 1 else "2 seeds"
    assert found.reason == f"beyond signal_l2:-20%, but it may be chance: {many}; about 3 seeds on each side would tell"


@pytest.mark.parametrize(("count", "other"), [(3, 3), (3, 4), (4, 3), (4, 4)])
def test_three_or_four_other_seeds_do_not_fail_by_size_alone(count: int, other: int) -> None:
    x, y = (1.0, 0.3, 3.0, 0.5)[:count], (0.4, 0.2, 1.1, 0.15)[:other]
    found = change(compared(sample(x), sample(y, seeds=range(10, 10 + other)), "signal_l2:-20%"))
    assert found.outcome == "inconclusive"


def test_as_many_seeds_as_are_said_to_tell_do_tell() -> None:
    x, y = np.log(APART[:5]), np.log(APART[3:])
    few = change(compared(sample(np.exp(x)), sample(np.exp(y), seeds=range(10, 15)), "signal_l2:+20%"))
    assert (few.outcome, few.p is not None) == ("inconclusive", True)
    assert few.seeds_to_tell is not None

    def spread(values: np.ndarray, count: int) -> np.ndarray:
        """So many values with the mean and the standard deviation of ``values``."""
        normal = stats.norm.ppf((np.arange(count) + 0.5) / count)
        return np.exp(values.mean() + values.std(ddof=1) * normal / normal.std(ddof=1))

    for count, outcome in ((few.seeds_to_tell, "regression"), (few.seeds_to_tell - 1, "inconclusive")):
        before, after = sample(spread(x, count)), sample(spread(y, count), seeds=range(100, 100 + count))
        assert change(compared(before, after, "signal_l2:+20%")).outcome == outcome
    hopeless = change(compared(sample(APART), sample([x * 1.21 for x in APART], seeds=range(10, 18)), "signal_l2:+20%"))
    assert hopeless.seeds_to_tell is None
    assert hopeless.reason.endswith("more than 1,000 seeds on each side would tell")


def test_of_several_limits_each_counts() -> None:
    before, after = sample(times(1)), sample(times(3))
    assert change(compared(before, after, "signal_l2:-20%", "signal_l2:+500%")).outcome == "within"
    found = change(compared(before, after, "signal_l2:-20%", "signal_l2:+100%", "signal_l2:+150%"))
    assert found.outcome == "regression"
    assert found.reason.startswith("beyond signal_l2:+100%, signal_l2:+150%; p < 1e-09, corrected for 3 decisions")


def test_with_a_limit_on_another_quantity_a_change_is_told_and_fails_nothing() -> None:
    found = compared(sample(times(1)), sample(times(1e-9)), "factor:0.1")
    assert (change(found).outcome, change(found).limited, found.regressions) == ("within", False, ())


def test_without_limits_it_is_found_what_changed_by_more_than_chance() -> None:
    before = sample(times(1), times(1), APART[:5], times(1))
    after = sample(times(0.8), times(1), [x * e for x, e in zip(APART, NOISE, strict=True)][:5], times(1.5))
    found = compared(before, after)
    outcomes = {c.layer.name: c.outcome for c in found.changes if c.layer}
    assert outcomes == {"a": "changed", "b": "unchanged", "c": "within", "d": "changed"}
    assert (found.regressions, found.limits) == ((), ())
    assert {change(found, layer).reason for layer in "abcd"} == {""}
    one = compared(sample([1.0]), sample([0.1]))
    assert change(one).outcome == "within"  # nobody can tell


# --- a whole build -----------------------------------------------------------------------------------


def build(tests: int, layers: int, factor: float = 1.0, spread: float = 0.3, seeds: int = 5) -> list[list[Sample]]:
    """The same seeds before and after; the first layer of each test is multiplied by ``factor``."""
    rng = np.random.default_rng(7)
    names = [f"l{i}" for i in range(layers)]
    sides: list[list[Sample]] = [[], []]
    for test in range(tests):
        logs = rng.normal(0, spread, (2, layers, seeds))
        logs[1, 0] += math.log(factor)
        for side, values in zip(sides, logs, strict=True):
            side.append(sample(*np.exp(values).tolist(), names=names, test=f"t{test}"))
    return sides


@pytest.mark.parametrize(
    ("tests", "layers", "texts", "decisions"),
    [(1, 10, ["signal_l2:-20%"], 10), (3, 1, ["signal_l2:-20%"], 3), (2, 3, ["signal_l2:-20%", "signal_l2:90%"], 18)],
)
def test_the_least_p_is_corrected_for_all_layers_limits_and_tests(
    tests: int, layers: int, texts: list[str], decisions: int
) -> None:
    before, after = build(tests, layers, 0.3)
    limits, _ = parse_failures(texts)
    assert number_of_decisions(before, limits) == decisions
    (first, *_), (now, *_) = before, after
    alone = compared(*(sample([f.layers[0].signal_l2 for f in x.flows]) for x in (first, now)), "signal_l2:-20%")
    p = change(alone).p
    assert p is not None
    assert 0 < p < 0.05
    whole = compare_samples(before, after, limits)
    assert next(c.p for c in whole.changes if c.layer) == pytest.approx(min(decisions * p, 1))


def test_decisions_count_each_layer_limit_and_direction_and_the_factor_once_a_test() -> None:
    two = [sample(times(1), times(2)), sample(times(1), test="u")]
    count = {text: number_of_decisions(two, [parse_limit(text)]) for text in ("signal_l2:-5%", "signal_l2:5%")}
    assert count == {"signal_l2:-5%": 3, "signal_l2:5%": 6}
    assert number_of_decisions(two, [parse_limit("factor:-5%")]) == 2
    assert number_of_decisions(two, [parse_limit("weight_l2:-5%")]) == 0  # which nobody has measured


def test_a_test_judged_alone_comes_out_as_in_the_whole_build() -> None:
    """So that a worker of pytest-xdist, or a test that has just ended, needs no other test."""
    limits, _ = parse_failures(["signal_l2:-5%", "factor:5%"])
    before, after = build(6, 4, 0.6, spread=0.06)
    whole = compare_samples(before, after, limits)
    assert {c.outcome for c in whole.changes} >= {"regression", "inconclusive", "within"}
    decisions = number_of_decisions(before, limits)
    apart = [compare_samples([x], [y], limits, decisions=decisions) for x, y in zip(before, after, strict=True)]
    assert [c for part in apart for c in part.changes] == list(whole.changes)
    alone = compare_samples(before[:1], after[:1], limits)
    assert min(c.p for c in alone.changes if c.p) < min(c.p for c in apart[0].changes if c.p)


def test_holms_correction() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005], 4) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, 0.004], 10) == pytest.approx([0.09, 0.04])
    assert holm([0.5, 0.0], 10) == [1.0, 0.0]
    assert holm([], 10) == []


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("same_seeds", [True, False])
@pytest.mark.parametrize(("layers", "texts"), [(1, ["q:20%"]), (20, ["q:-20%"]), (10, ["q:20%", "q:-10%"])])
def test_a_build_is_red_by_chance_once_in_twenty_where_it_is_just_at_its_limit(
    seeds: int, same_seeds: bool, layers: int, texts: list[str]
) -> None:
    """The worst of all null changes: a true fall of just as much as the limit allows."""
    rng, builds = np.random.default_rng(5), 400
    limits = [parse_limit(text) for text in texts]
    decisions = layers * sum(len(limit.signs) for limit in limits)
    fall = math.log1p(-min(limit.reach for limit in limits))
    red = 0
    for _ in range(builds):
        values = np.exp(rng.normal(0, 0.4, (2, layers, seeds)) + np.array([0.0, fall])[:, None, None])
        pairs = [Pair(LayerKey("a"), "q", tuple(x), tuple(y), same_seeds, limits) for x, y in zip(*values, strict=True)]
        red += any(judged.fails for judged in judge(pairs, decisions))
    assert red / builds <= stats.binom.ppf(0.999, builds, SIGNIFICANCE) / builds


def test_the_layers_of_a_test_do_not_decide_whether_a_true_change_is_red() -> None:
    before, after = build(1, 60, 0.5, spread=0.001)
    found = compare_samples(before, after, [parse_limit("signal_l2:-20%")])
    assert [str(c.layer) for c in found.changes if c.outcome == "regression"] == ["l0"]


# --- values without a spread --------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [range(5), range(10, 15)])
def test_shares_that_happen_to_be_equal_prove_nothing(seeds: Sequence[int]) -> None:
    """A share is of some units: of two values it may happen to be the one in all seeds, and then the other."""

    def outcome(before: Sequence[float], after: Sequence[float], text: str) -> str:
        x, y = sample(before, quantity="saturated"), sample(after, quantity="saturated", seeds=seeds[: len(after)])
        found: Comparison = compare(session(x), session(y), [parse_limit(text)])
        return change(found, quantity="saturated").outcome

    assert outcome([0.0] * 3, [0.25] * 3, "saturated:20%") == "inconclusive"
    assert outcome([0.01, 0.0, 0.01, 0.0, 0.02], [0.5, 0.49, 0.5, 0.5, 0.51], "saturated:0.2") == "regression"
    assert outcome([0.0, 0.01, 0.0, 0.0, 0.0], [1.0] * 5, "saturated:0.2") == "regression"


def test_counts_of_ones_own_that_happen_to_be_equal_prove_nothing() -> None:
    def outcome(before: float, after: float) -> str:
        sides = (sample([1.0] * 3, custom={"mine": ((value,),) * 3}) for value in (before, after))
        return change(compared(*sides, "mine:+20%"), quantity="mine").outcome

    assert outcome(1.0, 2.0) == "inconclusive"
    assert outcome(1.5, 3.1) == "regression"


def test_a_model_without_random_numbers_is_decided_by_its_one_value() -> None:
    before = sample([0.1] * 3)
    for count in (3, 7):
        seeds = range(10, 10 + count)
        for value, outcome in ((0.1, "within"), (0.0989, "regression"), (0.0991, "within")):
            found = change(compared(before, sample([value] * count, seeds=seeds), "signal_l2:-1%"))
            assert found.outcome == outcome, (count, value)
        assert change(compared(before, sample([0.1] * count, seeds=seeds), "signal_l2:0%")).outcome == "within"


# --- more seeds -----------------------------------------------------------------------------------------

LIMIT = [parse_limit("signal_l2:-20%")]


def test_no_seeds_are_added_where_all_is_decided() -> None:
    before = sample(times(1, 8))
    for factor in (1.0, 0.5, 0.95):
        assert further_seeds(sample(times(factor)), before, LIMIT) == ()
    assert further_seeds(sample(times(0.5)), before, []) == ()


def test_the_seeds_that_are_added_are_the_baselines_own() -> None:
    noise = np.exp(np.random.default_rng(2).normal(0, 0.3, 40))
    before = sample([1.0] * 40, seeds=range(42, 82))
    now = sample(list(0.7 * noise[:5]), seeds=range(42, 47))
    more = further_seeds(now, before, LIMIT)
    assert 3 < len(more) <= 35
    assert more == tuple(range(47, 47 + len(more)))
    assert len(further_seeds(now, before, LIMIT, most=8)) == 3
    assert len(further_seeds(now, before, LIMIT, decisions=100 * MOST_LOOKS)) >= len(more)
    # Of five seeds on the other side more here tell nothing.
    assert further_seeds(now, sample([1.0] * 5, seeds=range(42, 47)), LIMIT) == ()


def test_with_fewer_than_three_seeds_there_are_three_first() -> None:
    before = sample(times(1, 8), seeds=range(42, 50))
    assert further_seeds(sample([0.5], seeds=[43]), before, LIMIT) == (42, 44)


def test_other_seeds_than_the_baselines_are_followed_by_others() -> None:
    before = sample(SPREAD, seeds=range(8))
    now = sample([0.7, 0.5, 1.2], seeds=(42, 44, 45))
    more = further_seeds(now, before, LIMIT)
    assert more[:3] == (43, 46, 47)
    assert len(more) + 3 <= 50
