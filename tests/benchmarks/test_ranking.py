"""A score that tells good from bad: the area under its ROC curve, and cuts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vgharness.benchmarks.ranking import apply_cut, cut_at, ranking_auc

pytestmark = pytest.mark.fast

scores = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=12)


@given(scores, scores)
def test_the_area_under_the_roc_curve_is_mann_whitneys(good: list[float], bad: list[float]) -> None:
    u = stats.mannwhitneyu(bad, good, method="asymptotic").statistic if len({*good, *bad}) > 1 else None
    expected = 0.5 if u is None else u / (len(good) * len(bad))
    assert ranking_auc(good, bad) == pytest.approx(expected)


def test_infinite_scores_rank_last() -> None:
    assert ranking_auc([1, 2], [math.inf, math.inf]) == 1
    assert ranking_auc([math.inf], [math.inf]) == 0.5


@given(scores, scores, st.sampled_from([0.0, 0.5, 0.9, 0.95, 1.0]))
def test_a_cut_is_the_least_with_the_specificity_asked_for(
    good: list[float], bad: list[float], specificity: float
) -> None:
    cut = cut_at(good, bad, specificity=specificity)
    assert cut is not None
    assert cut == apply_cut(cut.value, good, bad)
    assert cut.specificity >= specificity
    lower = [apply_cut(value, good, bad) for value in good if value < cut.value]
    assert all(other.specificity < specificity for other in lower)


def test_a_cut_counts_what_lies_above_it() -> None:
    good, bad = [1.0] * 18 + [5.0, 9.0], [4.0, 5.0, 6.0, math.inf]
    cut = cut_at(good, bad, specificity=0.95)
    assert cut is not None
    assert (cut.value, cut.sensitivity, cut.specificity) == (5.0, 0.5, pytest.approx(0.95))
    assert cut_at([1.0, math.inf], bad, specificity=1.0) is None


@pytest.mark.parametrize(("good", "bad"), [([], [1.0]), ([1.0], [])])
def test_one_side_alone_has_no_ranking_and_no_cut(good: list[float], bad: list[float]) -> None:
    with pytest.raises(ValueError, match="both sides"):
        ranking_auc(good, bad)
    with pytest.raises(ValueError, match="both sides"):
        cut_at(good, bad, specificity=0.9)
