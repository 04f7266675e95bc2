"""Verdicts: what a run says of each claim, from made-up curves whose truth is known."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from random import Random
from typing import Any, NamedTuple, NoReturn

import pytest
from factories import CANONICAL, SYNTHETIC, make_flow, make_result, make_run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vgharness.claims.measures import MEASURES, Evidence, Measurement, NotRunError, published_curves
from vgharness.claims.spec import Accept, Claim, load_claims
from vgharness.claims.verdicts import decide, judge
from vgharness.records import (
    Architecture,
    CellResult,
    GradientFlow,
    LayerGradient,
    LayerShape,
    Outcome,
    Reading,
    Run,
    SeedValue,
)
from vgharness.statistics import Interval

pytestmark = pytest.mark.fast

CLAIMS = load_claims()
SEEDS = (42, 43, 44)
NOISE = (0.0, 1.0, -1.0, 0.5, -0.5)  # of seed 42, 43, …: their mean is the curve that a test gives


class Net(NamedTuple):
    """A network over the seeds: accuracies that scatter by ``scatter`` points, flows of one factor."""

    curve: Sequence[float] = ()
    factor: float = 0.8
    scatter: float = 0.2


def climb(first: float, last: float) -> list[float]:
    return [first + (last - first) * i / 19 for i in range(20)]


def step(reached: int | None, epochs: int = 20) -> list[float]:
    """On the plateau of 10 % until epoch ``reached`` brings 60 %."""
    return [60.0 if reached and epoch >= reached else 10.0 for epoch in range(1, epochs + 1)]


def results_of(
    nets: Mapping[str, Net], architecture: Architecture = "readme", seeds: Iterable[int] = SEEDS
) -> list[CellResult]:
    """``nets`` by activation, with the depth behind it where that is not 4: ``sigmoid``, ``sigmoid 6``."""
    return [
        _result_of(name, net._replace(curve=tuple(net.curve)), architecture, seed)
        for seed, (name, net) in product(seeds, nets.items())
    ]


@cache
def _result_of(name: str, net: Net, architecture: Architecture, seed: int) -> CellResult:
    activation, _, depth = name.partition(" ")
    noise = NOISE[(seed - SEEDS[0]) % len(NOISE)]
    return make_result(
        activation,  # type: ignore[arg-type]
        seed,
        architecture=architecture,
        depth=int(depth or 4),
        curve=[accuracy + net.scatter * noise for accuracy in net.curve],
        factor=net.factor * (1 + 0.01 * noise),
    )


def claim_of(measure: str, accept: Mapping[str, float], architecture: Any = None, **fields: Any) -> Claim:
    reading: Any = {"label": measure, "measure": measure, "accept": accept, **fields}
    return Claim(
        id="made-up", sentences=("It is so.",), readings=(reading,), architecture=architecture, document_epochs=20
    )


def reading_of(results: Iterable[CellResult], measure: str, accept: Mapping[str, float], **fields: Any) -> Reading:
    (verdict,) = judge([claim_of(measure, accept, **fields)], make_run(results))
    (reading,) = verdict.readings
    assert (verdict.outcome, verdict.reason) == (reading.outcome, reading.reason)
    return reading


def outcomes(run: Run) -> dict[str, Outcome]:
    return {verdict.claim: verdict.outcome for verdict in judge(CLAIMS, run)}


def numbers_of(reading: Reading) -> dict[int, float | None]:
    return {value.seed: value.value for value in reading.values}


SIGMOID: dict[str, Any] = {"of": {"activation": "sigmoid"}}
RELU: dict[str, Any] = {"of": {"activation": "relu"}}
GAP: dict[str, Any] = {"of": {"activation": "relu"}, "against": {"activation": "sigmoid"}}
RATIO: dict[str, Any] = {"of": {"activation": "sigmoid"}, "against": {"activation": "relu"}, "threshold": 50}
ANY: dict[str, float] = {"at_least": -1e9}

# --- the document's claims, each held and each refuted --------------------------------------------

# A world in which all of the README is true, its published curves apart: they contradict its table.
DOCUMENT = {
    "sigmoid": Net(climb(45, 73), factor=0.3),
    "relu": Net(climb(60, 82.5), factor=0.9),
    "tanh": Net(factor=0.8),
    "sigmoid 2": Net(climb(60, 70)),
    "relu 2": Net(climb(62, 73)),
    "sigmoid 6": Net(step(None)),
    "sigmoid 8": Net(step(None)),
    "sigmoid 10": Net(step(None)),
}
PLOTS = {name: Net([row["test_accuracy_percent"] for row in rows]) for name, rows in published_curves().items()}
HELD = {claim.id for claim in CLAIMS} - {"published-curves"}

WORLDS: dict[str, tuple[dict[str, Net], set[str]]] = {
    "sigmoid starts lower": ({"sigmoid": Net(climb(25, 73), 0.3)}, {"sigmoid-epoch-1"}),
    "sigmoid starts higher": (
        {"sigmoid": Net(climb(55, 73), 0.3)},
        {"sigmoid-epoch-1", "sigmoid-slow-start", "convergence"},
    ),
    "sigmoid starts as high as ReLU": (
        {"sigmoid": Net(climb(60, 73), 0.3)},
        {"sigmoid-epoch-1", "sigmoid-slow-start", "convergence"},
    ),
    "sigmoid is caught up with by ReLU late": (
        {"sigmoid": Net(climb(46, 73), 0.3), "relu": Net([49, 49, *climb(60, 82.5)[2:]], 0.9)},
        {"relu-epoch-1", "sigmoid-slow-start", "convergence"},
    ),
    "sigmoid ends lower": ({"sigmoid": Net(climb(45, 66.9), 0.3)}, {"sigmoid-final"}),
    "sigmoid ends below a half": (
        {"sigmoid": Net(climb(45, 49), 0.3)},
        {"sigmoid-final", "sigmoid-learns-less"},
    ),
    "sigmoid ends above ReLU": ({"sigmoid": Net(climb(45, 85), 0.3)}, {"sigmoid-final", "sigmoid-learns-less"}),
    "ReLU starts lower": ({"relu": Net([54, *climb(60, 82.5)[1:]], 0.9)}, {"relu-epoch-1"}),
    "ReLU ends lower": ({"relu": Net(climb(60, 78), 0.9)}, {"relu-final"}),
    "ReLU ends higher": ({"relu": Net(climb(60, 90), 0.9)}, {"relu-final"}),
    "sigmoid's gradient shrinks less": ({"sigmoid": Net(climb(45, 73), 0.6)}, {"sigmoid-gradient-shrinks"}),
    "sigmoid's gradient grows": (
        {"sigmoid": Net(climb(45, 73), 1.2)},
        {"sigmoid-gradient-shrinks", "tanh-squashes"},
    ),
    "ReLU's gradient shrinks": ({"relu": Net(climb(60, 82.5), 0.3)}, {"relu-gradient-stable"}),
    "ReLU's gradient grows": ({"relu": Net(climb(60, 82.5), 3.0)}, {"relu-gradient-stable"}),
    "tanh's gradient grows": ({"tanh": Net(factor=1.2)}, {"tanh-squashes"}),
    "shallow sigmoid falls behind": ({"relu 2": Net(climb(70, 80))}, {"shallow-is-fine"}),
    "depth 6 learns at once": ({"sigmoid 6": Net(climb(20, 60))}, {"deep-collapses"}),
    "depth 8 learns at once": ({"sigmoid 8": Net(climb(20, 60))}, {"deep-collapses"}),
    "depth 10 learns at once": ({"sigmoid 10": Net(climb(20, 60))}, {"deep-collapses"}),
}


def test_every_claim_but_the_published_curves_is_reproduced_where_the_document_is_true() -> None:
    found = outcomes(make_run(results_of(DOCUMENT)))
    assert found == {**dict.fromkeys(HELD, "reproduced"), "published-curves": "not run"}


@pytest.mark.parametrize(("changes", "refuted"), WORLDS.values(), ids=WORLDS)
def test_just_the_claims_that_a_change_makes_false_are_not_reproduced(
    changes: dict[str, Net], refuted: set[str]
) -> None:
    found = outcomes(make_run(results_of(DOCUMENT | changes)))
    assert {name for name, outcome in found.items() if outcome == "not reproduced"} == refuted
    assert {name for name, outcome in found.items() if outcome == "reproduced"} == HELD - refuted


def test_every_claim_is_refuted_by_some_made_up_world() -> None:
    """The architecture's and the published curves' stand below."""
    assert set.union(*(refuted for _, refuted in WORLDS.values())) == HELD - {"architecture"}


def test_slow_to_leave_the_plateau_also_counts_as_collapse() -> None:
    slow = Net([*step(3)[:12], *climb(60, 70)[12:]])
    late = {"sigmoid": Net([10, 10, *climb(45, 73)[2:]], 0.3), "sigmoid 6": slow._replace(curve=step(6))}
    assert outcomes(make_run(results_of(DOCUMENT | late)))["deep-collapses"] == "reproduced"
    late["sigmoid 6"] = slow._replace(curve=step(5))
    assert outcomes(make_run(results_of(DOCUMENT | late)))["deep-collapses"] == "not reproduced"


@pytest.mark.parametrize(
    ("architecture", "outcome", "rows"), [("readme", "reproduced", 0), ("script", "not reproduced", 2)]
)
def test_the_table_of_shapes_fits_readme_and_two_of_its_rows_do_not_fit_script(
    architecture: Architecture, outcome: Outcome, rows: int
) -> None:
    (verdict, *_) = judge(CLAIMS, make_run(results_of(DOCUMENT, architecture)))
    assert (verdict.claim, verdict.outcome) == ("architecture", outcome)
    assert numbers_of(verdict.readings[0]) == dict.fromkeys(SEEDS, rows)


@pytest.mark.parametrize(
    ("offset", "outcome"), [(0, "reproduced"), (2, "reproduced"), (-2, "reproduced"), (4, "not reproduced")]
)
@pytest.mark.parametrize("name", ["sigmoid", "relu"])
def test_curves_within_three_points_of_the_published_are_theirs(name: str, offset: float, outcome: Outcome) -> None:
    moved = {name: PLOTS[name]._replace(curve=[x + offset for x in PLOTS[name].curve])}
    (verdict,) = judge([CLAIMS[-1]], make_run(results_of(PLOTS | moved, "script")))
    assert (verdict.claim, verdict.architecture, verdict.outcome) == ("published-curves", "script", outcome)
    means = [reading.mean for reading in verdict.readings]
    assert means == pytest.approx([offset if name == other else 0 for other in ("sigmoid", "relu")], abs=1e-9) or (
        offset < 0 and max(x or 0 for x in means) == pytest.approx(-offset)
    )


# --- from values to an outcome --------------------------------------------------------------------


def values_of(numbers: Iterable[float], **fields: Any) -> list[SeedValue]:
    return [SeedValue(seed=seed, value=number, **fields) for seed, number in enumerate(numbers, SEEDS[0])]


def decided(accept: Accept | Mapping[str, float], numbers: Iterable[float], **fields: Any) -> dict[str, Any]:
    accept = accept if isinstance(accept, Accept) else Accept(**accept)
    return decide(accept, Measurement(values_of(numbers, **fields)))


BAND = {"at_least": 42, "at_most": 48}


@pytest.mark.parametrize(
    ("accept", "numbers", "outcome"),
    [
        (BAND, (45, 45.5, 46), "reproduced"),
        (BAND, (20, 21, 22), "not reproduced"),
        (BAND, (60, 61, 62), "not reproduced"),
        (BAND, (41, 43, 45), "inconclusive"),
        (BAND, (39, 41, 43), "inconclusive"),
        (BAND, (0, 45, 90), "inconclusive"),
        (BAND, (42, 42, 42), "reproduced"),
        (BAND, (48, 48, 48), "reproduced"),
        (BAND, (48.01, 48.01, 48.01), "not reproduced"),
        (BAND, (45,), "inconclusive"),
        (BAND, (20,), "inconclusive"),
        (BAND, (45, 45.1), "inconclusive"),
        (BAND, (20, 20.1), "inconclusive"),
        ({"at_least": 2}, (2, 2, 2), "reproduced"),
        ({"above": 2}, (2, 2, 2), "not reproduced"),
        ({"above": 2}, (2.1, 2.1, 2.1), "reproduced"),
        ({"below": 2}, (2, 2, 2), "not reproduced"),
        ({"at_most": 2}, (2, 2, 2), "reproduced"),
        ({"at_most": 2}, (1, 2, 3), "inconclusive"),
        (BAND, (45, 45, math.nan), "not reproduced"),
        (BAND, (45, 45, math.inf), "not reproduced"),
        (BAND, (-math.inf, 45, 45), "not reproduced"),
        (BAND, (math.nan,) * 3, "not reproduced"),
        (BAND, (*[45] * 9, math.nan), "not reproduced"),
        ({"at_least": 2}, (math.inf,) * 3, "not reproduced"),
        ({"at_most": 2}, (-math.inf,) * 3, "not reproduced"),
        (BAND, (math.nan,), "inconclusive"),
        (BAND, (45, math.nan), "inconclusive"),
    ],
)
def test_the_place_of_the_interval_decides(
    accept: Mapping[str, float], numbers: Sequence[float], outcome: Outcome
) -> None:
    assert decided(accept, numbers)["outcome"] == outcome


def test_a_seed_without_a_finite_value_is_named() -> None:
    assert "43" in decided(BAND, (45, math.nan, 45))["reason"]


def test_the_interval_is_that_of_the_values() -> None:
    fields = decided(BAND, (41, 43, 45))
    low, high = stats.t.interval(0.95, 2, 43, 2 / math.sqrt(3))
    assert (fields["mean"], fields["low"], fields["high"]) == pytest.approx((43, low, high))
    assert fields["method"] == "t"


@pytest.mark.parametrize(
    ("numbers", "needed"),
    [((41, 43, 45), 18), ((45,), 3), ((45, 45.1), 3), ((42.5, 43.5), 5), ((40, 42, 44), None), ((0, 84), None)],
)
def test_what_is_inconclusive_says_how_many_seeds_would_decide(numbers: Sequence[float], needed: int | None) -> None:
    fields = decided(BAND, numbers)
    assert fields["outcome"] == "inconclusive"
    assert fields["seeds_needed"] == needed
    assert str(needed or "") in fields["reason"]


def test_what_is_inconclusive_asks_for_more_seeds_than_it_has() -> None:
    straddles = Interval(mean=2.95, low=2.8, high=3.1, method="bootstrap")
    fields = decide(Accept(at_most=3), Measurement(values_of([3.05] * 5), straddles))
    assert fields["outcome"] == "inconclusive"
    assert fields["seeds_needed"] is None or fields["seeds_needed"] > 5


@pytest.mark.parametrize(
    ("accept", "numbers", "outcome"),
    [
        ({"at_least": 2}, (4, 4, 4), "reproduced"),
        ({"at_least": 2}, (1.4, 1.4, 1.4), "inconclusive"),
        ({"at_least": 2}, (1, 2, 3), "inconclusive"),
        ({"at_least": 2, "at_most": 8}, (4, 4, 4), "inconclusive"),
        ({"at_most": 8}, (4, 4, 4), "inconclusive"),
    ],
)
def test_lower_bounds_hold_a_claim_only_where_nothing_bounds_it_from_above(
    accept: Mapping[str, float], numbers: Sequence[float], outcome: Outcome
) -> None:
    assert decided(accept, numbers, at_least=True)["outcome"] == outcome


@pytest.mark.parametrize(
    ("numbers", "found", "outcome"),
    [
        ([0], Interval(0, 0, 0, "exact"), "reproduced"),
        ([2], Interval(2, 2, 2, "exact"), "not reproduced"),
        ([0, 2], Interval(1, 0, 2, "exact"), "not reproduced"),
        ([0, 0], Interval(0, 0, 0, "bootstrap"), "inconclusive"),
        ([2, 2], Interval(2, 2, 2, "t"), "inconclusive"),
    ],
)
def test_only_an_exact_figure_is_decided_by_fewer_than_three_seeds(
    numbers: Sequence[float], found: Interval, outcome: Outcome
) -> None:
    assert decide(Accept(at_least=0, at_most=0), Measurement(values_of(numbers), found))["outcome"] == outcome


small = st.integers(-20, 20).map(lambda x: x / 2)
few = st.lists(small, min_size=3, max_size=7)


@st.composite
def accepts(draw: st.DrawFn) -> Accept:
    low, high = sorted(draw(st.lists(st.integers(-10, 10), min_size=2, max_size=2, unique=True)))
    lower, upper = draw(st.sampled_from(("at_least", "above", ""))), draw(st.sampled_from(("at_most", "below")))
    return Accept(**{name: end for name, end in ((lower, low), (upper, high)) if name})


@given(accepts(), few)
def test_a_verdict_never_contradicts_the_mean(accept: Accept, numbers: list[float]) -> None:
    fields = decided(accept, numbers)
    assert fields["outcome"] != ("not reproduced" if accept.contains(fields["mean"]) else "reproduced")


@given(accepts(), few)
def test_values_far_outside_are_never_accepted(accept: Accept, numbers: list[float]) -> None:
    shift = accept.high - min(numbers) + 5 * (max(numbers) - min(numbers)) + 1
    assert decided(accept, [x + shift for x in numbers])["outcome"] == "not reproduced"


@given(accepts(), st.lists(small, max_size=12), st.sampled_from((math.nan, math.inf, -math.inf)), st.randoms())
def test_one_seed_that_is_not_finite_is_never_passed(
    accept: Accept, numbers: list[float], bad: float, random: Any
) -> None:
    mixed = [*numbers, bad]
    random.shuffle(mixed)
    assert decided(accept, mixed)["outcome"] == ("not reproduced" if len(mixed) >= 3 else "inconclusive")


@given(accepts(), few, st.integers(0, 20), st.integers(0, 20))
def test_accepting_more_never_takes_a_pass_away(accept: Accept, numbers: list[float], down: int, up: int) -> None:
    wider = Accept(**({} if accept.low == -math.inf else {"at_least": accept.low - down}), at_most=accept.high + up)
    if decided(accept, numbers)["outcome"] == "reproduced":
        assert decided(wider, numbers)["outcome"] == "reproduced"
    if decided(wider, numbers)["outcome"] == "not reproduced":
        assert decided(accept, numbers)["outcome"] == "not reproduced"


@settings(max_examples=25)
@given(accepts(), st.lists(small, min_size=2, max_size=7))
def test_the_seeds_asked_for_would_decide_if_mean_and_spread_stay(accept: Accept, numbers: list[float]) -> None:
    fields = decided(accept, numbers)
    count = fields.get("seeds_needed")
    if count is not None:
        deviation = math.sqrt(sum((x - fields["mean"]) ** 2 for x in numbers) / (len(numbers) - 1))
        half = stats.t.interval(0.95, count - 1)[1] * deviation / math.sqrt(count)
        low, high = fields["mean"] - half, fields["mean"] + half
        assert count > len(numbers)
        assert (accept.contains(low) and accept.contains(high)) or accept.excludes(low, high)


# --- worst of the readings, either of alternatives ------------------------------------------------

WORST_FIRST: tuple[Outcome, ...] = ("error", "not reproduced", "not run", "inconclusive", "reproduced")


def by_label(evidence: Evidence) -> Measurement:
    """A measure that comes out as its reading's label says, accepting 0 to 1."""
    outcome = evidence.spec.label.partition(":")[0]
    if outcome == "error":
        raise RuntimeError("broken")
    if outcome == "not run":
        raise NotRunError("nothing there")
    return Measurement(values_of({"reproduced": [0.5] * 3, "not reproduced": [5.0] * 3}.get(outcome, [0.5])))


def judged_by_label(monkeypatch: pytest.MonkeyPatch, labels: Sequence[str], *either: str | None) -> Outcome:
    monkeypatch.setitem(MEASURES, "accuracy", by_label)
    common: dict[str, Any] = {"measure": "accuracy", "accept": {"at_least": 0, "at_most": 1}, "epoch": (1,), **SIGMOID}
    readings: Any = [
        {**common, "label": f"{label}: {i}", "either": group}
        for i, (label, group) in enumerate(zip(labels, either or [None] * len(labels), strict=True))
    ]
    claim = Claim(id="x", sentences=("s",), readings=readings, document_epochs=20)
    (verdict,) = judge([claim], make_run(results_of({"sigmoid": Net()})))
    assert [reading.outcome for reading in verdict.readings] == list(labels)
    return verdict.outcome


@pytest.mark.parametrize("labels", list(product(WORST_FIRST, WORST_FIRST)), ids=" + ".join)
def test_the_worst_of_a_claims_readings_counts(monkeypatch: pytest.MonkeyPatch, labels: Sequence[Outcome]) -> None:
    worst = min(labels, key=WORST_FIRST.index)
    assert judged_by_label(monkeypatch, labels) == worst
    assert judged_by_label(monkeypatch, ["reproduced", *labels, "reproduced"]) == worst


@pytest.mark.parametrize(
    ("labels", "outcome"),
    [
        *(((label, "reproduced"), "reproduced") for label in WORST_FIRST),
        (("not reproduced", "not reproduced"), "not reproduced"),
        (("not reproduced", "not run"), "not run"),
        (("not reproduced", "inconclusive"), "inconclusive"),
        (("not reproduced", "error"), "error"),
        (("not run", "not run"), "not run"),
        (("not run", "error"), "error"),
    ],
)
def test_of_alternatives_one_suffices_and_none_is_ruled_out_unmeasured(
    monkeypatch: pytest.MonkeyPatch, labels: Sequence[Outcome], outcome: Outcome
) -> None:
    assert judged_by_label(monkeypatch, labels, "a", "a") == outcome
    assert judged_by_label(monkeypatch, labels[::-1], "a", "a") == outcome


def test_every_group_of_alternatives_has_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = "reproduced", "not reproduced"
    assert judged_by_label(monkeypatch, [good, bad, bad, good], "a", "a", "b", "b") == "reproduced"
    assert judged_by_label(monkeypatch, [good, good, bad, bad], "a", "a", "b", "b") == "not reproduced"
    assert judged_by_label(monkeypatch, [good, bad, bad], "a", "a", None) == "not reproduced"


def test_a_verdicts_reason_is_that_of_the_reading_that_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEASURES, "accuracy", by_label)
    common: dict[str, Any] = {"measure": "accuracy", "accept": {"at_least": 0}, "epoch": (1,), **SIGMOID}
    readings: Any = [{**common, "label": label} for label in ("inconclusive", "not run", "reproduced")]
    claim = Claim(id="x", sentences=("s", "t"), readings=readings, document_epochs=20)
    (verdict,) = judge([claim], make_run(results_of({"sigmoid": Net()})))
    assert (verdict.sentence, verdict.outcome, verdict.reason) == ("s … t", "not run", "nothing there")


# --- what is missing, what raises -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "not_run"),
    [
        ({"tanh"}, {"tanh-squashes"}),
        ({"relu 2"}, {"shallow-is-fine"}),
        ({"sigmoid 10"}, {"deep-collapses"}),
        ({"relu", "relu 2"}, {
            "architecture", "relu-epoch-1", "relu-final", "sigmoid-slow-start", "convergence", "sigmoid-learns-less",
            "relu-gradient-stable", "shallow-is-fine",
        }),
    ],
    ids=("tanh", "ReLU at depth 2", "sigmoid at depth 10", "every ReLU"),
)  # fmt: skip
def test_a_claim_whose_cell_is_missing_is_not_run(missing: set[str], not_run: set[str]) -> None:
    run = make_run(results_of({name: net for name, net in DOCUMENT.items() if name not in missing}))
    found = judge(CLAIMS[:-1], run)
    assert {verdict.claim for verdict in found if verdict.outcome == "not run"} == not_run
    assert all(verdict.outcome == "reproduced" for verdict in found if verdict.claim not in not_run)
    lacking = {name.split()[0] for name in missing}
    assert all(any(name in v.reason for name in lacking) for v in found if v.claim in not_run)


@pytest.mark.parametrize("kind", ["canonical", "re-encoded", "part", "no"])
def test_claims_about_cifar10_are_not_run_on_other_images_and_the_rest_are_judged(kind: str) -> None:
    run = make_run(results_of(DOCUMENT), data=CANONICAL.model_copy(update={"cifar10": kind}))
    for claim, verdict in zip(CLAIMS[:-1], judge(CLAIMS[:-1], run), strict=True):
        expected = "not run" if kind in ("part", "no") and claim.about_cifar10 else "reproduced"
        assert (verdict.claim, verdict.outcome) == (claim.id, expected)
        assert ("CIFAR-10" in verdict.reason) is (expected == "not run")


def test_no_claim_about_cifar10_is_refuted_on_synthetic_images() -> None:
    found = outcomes(make_run(results_of(DOCUMENT | {"sigmoid": Net(step(1))}), data=SYNTHETIC))
    assert {found[claim.id] for claim in CLAIMS if claim.about_cifar10} == {"not run"}


@pytest.mark.parametrize("epochs", [5, 19])
def test_claims_about_the_last_epoch_are_not_run_before_it(epochs: int) -> None:
    nets = {name: net._replace(curve=net.curve[:epochs]) for name, net in DOCUMENT.items()}
    found = outcomes(make_run(results_of(nets)))
    of_the_last = {
        "sigmoid-final",
        "relu-final",
        "sigmoid-learns-less",
        "sigmoid-gradient-shrinks",
        "relu-gradient-stable",
        "shallow-is-fine",
    }
    assert {name for name, outcome in found.items() if outcome == "not run"} == of_the_last | {"published-curves"}
    assert all(found[name] == "reproduced" for name in HELD - of_the_last)


@pytest.mark.parametrize("more", [0, 1, 20])
def test_the_last_epoch_is_the_documents_however_long_a_network_went_on(more: int) -> None:
    def go_on(nets: dict[str, Net]) -> dict[str, Net]:
        return {
            name: net._replace(curve=[*net.curve, *[99.0] * more] if net.curve else ()) for name, net in nets.items()
        }

    run = make_run([*results_of(go_on(DOCUMENT)), *results_of(go_on(PLOTS), "script")])
    found = {v.claim: v for v in judge(CLAIMS, run) if (v.architecture == "script") == (v.claim == "published-curves")}
    assert {verdict.outcome for verdict in found.values()} == {"reproduced"}
    assert found["sigmoid-final"].readings[0].mean == pytest.approx(73)


@pytest.mark.parametrize("epochs", [1, 19])
def test_published_curves_are_not_run_before_their_last_epoch(epochs: int) -> None:
    nets = {name: net._replace(curve=net.curve[:epochs]) for name, net in PLOTS.items()}
    (verdict,) = judge([CLAIMS[-1]], make_run(results_of(nets, "script")))
    assert verdict.outcome == "not run"
    assert "20" in verdict.reason


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), KeyError("x"), AssertionError()], ids=repr)
def test_a_computation_that_raises_is_an_error_and_the_other_claims_are_judged(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(evidence: Evidence) -> NoReturn:
        raise error

    run = make_run(results_of(DOCUMENT))
    before = judge(CLAIMS, run)
    monkeypatch.setitem(MEASURES, "accuracy_gap", broken)
    after = judge(CLAIMS, run)
    hit = {claim.id for claim in CLAIMS if any(r.measure == "accuracy_gap" for r in claim.readings)}
    assert hit == {"sigmoid-slow-start", "sigmoid-learns-less", "shallow-is-fine"}
    assert {verdict.claim for verdict in after if verdict.outcome == "error"} == hit
    assert all(type(error).__name__ in verdict.reason for verdict in after if verdict.claim in hit)
    assert [v for v in after if v.claim not in hit] == [v for v in before if v.claim not in hit]


# --- cells that did not finish --------------------------------------------------------------------


def cut(result: CellResult, epochs: int, status: str) -> CellResult:
    return result.model_copy(update={"epochs": result.epochs[:epochs], "status": status})


def swap(results: Iterable[CellResult], change: Callable[[CellResult], CellResult], *names: str) -> list[CellResult]:
    """``results`` with ``change`` made to those whose cell's name ends in one of ``names``."""
    return [change(result) if result.cell.name.endswith(names) else result for result in results]


def test_a_diverged_cell_has_no_accuracy_after_its_last_epoch() -> None:
    five = results_of({"sigmoid": DOCUMENT["sigmoid"]}, seeds=range(42, 47))
    results = swap(five, lambda r: cut(r, 3, "diverged"), "seed 44")
    last = reading_of(results, "accuracy", {"at_least": 71, "at_most": 75}, epoch="last", **SIGMOID)
    assert last.outcome == "not reproduced"
    assert [seed for seed, value in numbers_of(last).items() if value is None] == [44]
    first = reading_of(results, "accuracy", BAND, epoch=(1,), **SIGMOID)
    assert first.outcome == "reproduced"
    assert len(first.values) == 5


def test_the_curve_of_a_diverged_cell_is_not_the_published_one() -> None:
    results = swap(results_of(PLOTS, "script"), lambda r: cut(r, 19, "diverged"), "relu seed 43")
    (verdict,) = judge([CLAIMS[-1]], make_run(results))
    assert [reading.outcome for reading in verdict.readings] == ["reproduced", "not reproduced"]


@pytest.mark.parametrize("measure", ["factor", "largest_factor"])
def test_a_diverged_cell_has_no_gradient_after_its_last_epoch(measure: str) -> None:
    """Leaving the seed out would pass the claim on those that happened to survive."""
    five = results_of({"sigmoid": DOCUMENT["sigmoid"]}, seeds=range(42, 47))
    results = swap(five, lambda r: cut(r, 3, "diverged"), "seed 44")
    reading = reading_of(results, measure, {"below": 0.5}, quantity="signal_l2", moment="last", **SIGMOID)
    assert reading.outcome == "not reproduced"
    assert [seed for seed, value in numbers_of(reading).items() if value is None] == [44]


def test_the_accuracy_of_an_epoch_whose_loss_was_not_finite_is_none() -> None:
    """A network of NaN still puts out a class: training records its 10 % beside a loss of null."""

    def diverge(result: CellResult) -> CellResult:
        broken = result.epochs[2].model_copy(
            update={"test_accuracy": 10.0, "test_loss": None, "train_loss": None, "nonfinite": ("test_loss",)}
        )
        return result.model_copy(update={"epochs": (*result.epochs[:2], broken), "status": "diverged"})

    level = {"sigmoid": Net(climb(58, 73)), "relu": Net(climb(60, 82.5))}
    results = swap(results_of(level), diverge, *(f"sigmoid seed {seed}" for seed in SEEDS))
    reading = reading_of(results, "accuracy_gap", {"above": 10}, epoch=(1, 2, 3), **GAP)
    assert reading.outcome == "not reproduced"


def test_failed_cells_are_ignored() -> None:
    good = results_of({"sigmoid": DOCUMENT["sigmoid"]})
    failed = [r.model_copy(update={"status": "failed"}) for r in results_of({"sigmoid": Net(climb(0, 0))}, seeds=[45])]
    asked: dict[str, Any] = {"accept": BAND, "epoch": (1,), **SIGMOID}
    assert reading_of([*good, *failed], "accuracy", **asked) == reading_of(good, "accuracy", **asked)
    assert reading_of([*good[:2], *failed], "accuracy", **asked).outcome == "inconclusive"
    assert reading_of(failed, "accuracy", **asked).outcome == "not run"


def test_an_interrupted_cell_counts_for_the_epochs_that_it_has() -> None:
    four = results_of({"sigmoid": DOCUMENT["sigmoid"]}, seeds=range(42, 46))
    results = swap(four, lambda r: cut(r, 3, "interrupted"), "seed 45")
    seeds = {
        when: list(numbers_of(reading_of(results, "accuracy", ANY, epoch=when, **SIGMOID)))
        for when in ((1,), (1, 2, 3), (3, 4), "last")
    }
    assert seeds == {(1,): [42, 43, 44, 45], (1, 2, 3): [42, 43, 44, 45], (3, 4): [42, 43, 44], "last": [42, 43, 44]}
    every = [cut(result, 3, "interrupted") for result in four]
    assert reading_of(every, "accuracy", ANY, epoch="last", **SIGMOID).outcome == "not run"


# --- each measure ---------------------------------------------------------------------------------


def test_accuracy_is_the_mean_over_the_epochs_asked_for() -> None:
    results = [make_result("sigmoid", seed, curve=range(10, 30)) for seed in SEEDS]
    found = [
        numbers_of(reading_of(results, "accuracy", ANY, epoch=when, **SIGMOID))[42] for when in ((1,), (2, 5), "last")
    ]
    assert found == [10, 12.5, 29]


def test_an_accuracy_that_was_not_finite_is_none() -> None:
    results = results_of({"sigmoid": DOCUMENT["sigmoid"]})
    epochs = results[1].epochs
    hole = epochs[1].model_copy(update={"test_accuracy": None, "nonfinite": ("test_accuracy",)})
    results[1] = results[1].model_copy(update={"epochs": (epochs[0], hole, *epochs[2:])})
    assert reading_of(results, "accuracy", BAND, epoch=(1, 2), **SIGMOID).outcome == "not reproduced"
    assert reading_of(results, "accuracy", BAND, epoch=(1, 3), **SIGMOID).outcome == "reproduced"


def test_a_gap_is_taken_within_each_seed_that_both_networks_have() -> None:
    sigmoid = [make_result("sigmoid", seed, curve=[float(seed)] * 20) for seed in (46, 43, 44, 45)]
    relu = [make_result("relu", seed, curve=[2.0 * seed] * 20) for seed in (44, 42, 45, 43)]
    for results in ([*sigmoid, *relu], [*relu, *sigmoid]):
        reading = reading_of(results, "accuracy_gap", ANY, epoch="last", **GAP)
        assert list(numbers_of(reading).items()) == [(43, 43), (44, 44), (45, 45)]
    assert reading_of([*sigmoid[:1], *relu], "accuracy_gap", ANY, epoch="last", **GAP).outcome == "not run"


@pytest.mark.parametrize(
    "other", [{"norm": "batch"}, {"init": "kaiming"}, {"learning_rate": 1e-2}, {"batch_size": 64}, {"depth": 6}]
)
def test_only_cells_by_the_published_recipe_speak_for_the_document(other: dict[str, Any]) -> None:
    good = results_of({"sigmoid": DOCUMENT["sigmoid"]})
    stray = [r.model_copy(update={"cell": r.cell.model_copy(update=other)}) for r in results_of({"sigmoid": Net([5])})]
    asked: dict[str, Any] = {"accept": BAND, "epoch": (1,), **SIGMOID}
    assert reading_of([*good, *stray], "accuracy", **asked) == reading_of(good, "accuracy", **asked)
    assert reading_of(stray, "accuracy", **asked).outcome == "not run"


@pytest.mark.parametrize(
    ("sigmoid", "relu", "value", "at_least", "outcome"),
    [
        (10, 5, 2.0, False, "reproduced"),
        (12, 5, 2.4, False, "reproduced"),
        (9, 5, 1.8, False, "not reproduced"),
        (1, 1, 1.0, False, "not reproduced"),
        (5, 10, 0.5, False, "not reproduced"),
        (None, 5, 21 / 5, True, "reproduced"),
        (None, 10, 21 / 10, True, "reproduced"),
        (None, 15, 21 / 15, True, "inconclusive"),
        (None, None, None, True, "inconclusive"),
        (20, None, 20 / 21, False, "not reproduced"),
    ],
)
def test_epochs_ratio_is_exact_or_a_lower_bound(
    sigmoid: int | None, relu: int | None, value: float | None, at_least: bool, outcome: Outcome
) -> None:
    results = results_of({"sigmoid": Net(step(sigmoid)), "relu": Net(step(relu))})
    reading = reading_of(results, "epochs_ratio", {"at_least": 2}, **RATIO)
    assert numbers_of(reading) == dict.fromkeys(SEEDS, value)
    assert {v.at_least for v in reading.values} == {at_least}
    assert reading.outcome == outcome


def test_epochs_ratio_is_taken_to_the_first_epoch_above_the_threshold() -> None:
    wavering = [10.0, 60.0, 10.0, 10.0, *[60.0] * 16]
    results = results_of({"sigmoid": Net(wavering), "relu": Net(step(1))})
    assert set(numbers_of(reading_of(results, "epochs_ratio", ANY, **RATIO)).values()) == {2}


def test_one_seed_in_which_no_network_got_there_leaves_the_ratio_open() -> None:
    results = [
        *results_of({"sigmoid": Net(step(10)), "relu": Net(step(2))}, seeds=range(42, 46)),
        *results_of({"sigmoid": Net(step(None)), "relu": Net(step(None))}, seeds=[46]),
    ]
    reading = reading_of(results, "epochs_ratio", {"at_least": 2}, **RATIO)
    assert reading.outcome == "inconclusive"
    assert "46" in reading.reason


@pytest.mark.parametrize(
    ("sigmoid", "relu"),
    [
        pytest.param(
            (15, 20, "finished"), (None, 2, "interrupted"), id="ReLU interrupted: the ratio is an upper bound"
        ),
        pytest.param((15, 20, "finished"), (None, 2, "diverged"), id="ReLU diverged: it will never get there"),
        pytest.param((None, 3, "diverged"), (1, 20, "finished"), id="sigmoid diverged: NaN is not slow"),
    ],
)
def test_a_network_cut_short_before_the_threshold_does_not_prove_the_other_faster(
    sigmoid: tuple[int | None, int, str], relu: tuple[int | None, int, str]
) -> None:
    results = [
        cut(result, epochs, status)
        for name, (reached, epochs, status) in (("sigmoid", sigmoid), ("relu", relu))
        for result in results_of({name: Net(step(reached))})
    ]
    assert reading_of(results, "epochs_ratio", {"at_least": 2}, **RATIO).outcome != "reproduced"


def test_a_network_that_diverged_only_after_the_threshold_had_got_there() -> None:
    slow = [cut(result, 15, "diverged") for result in results_of({"sigmoid": Net(step(10))})]
    quick = [cut(result, 6, "diverged") for result in results_of({"relu": Net(step(5))})]
    reading = reading_of([*slow, *quick], "epochs_ratio", {"at_least": 2}, **RATIO)
    assert numbers_of(reading) == dict.fromkeys(SEEDS, 2)
    assert reading.outcome == "reproduced"


def test_a_slow_network_that_was_interrupted_gives_a_bound_from_the_epochs_that_it_has() -> None:
    slow = [cut(result, 7, "interrupted") for result in results_of({"sigmoid": Net(step(None))})]
    reading = reading_of([*slow, *results_of({"relu": Net(step(2))})], "epochs_ratio", {"at_least": 2}, **RATIO)
    assert reading.values == tuple(SeedValue(seed=seed, value=4, at_least=True) for seed in SEEDS)
    assert reading.outcome == "reproduced"


def test_an_untrained_network_has_no_epochs_ratio() -> None:
    results = results_of({"sigmoid": Net(), "relu": Net(step(2))})
    assert reading_of(results, "epochs_ratio", {"at_least": 2}, **RATIO).outcome == "not run"


def flow_of(signal: float, weight: float) -> GradientFlow:
    """Quantities with a factor each, and a last layer that is no convolution and far larger."""
    rows = [
        a.model_copy(update={"weight_mean_abs": b.weight_mean_abs, "weight_l2": None, "signal_rms": None})
        for a, b in zip(make_flow(signal).layers, make_flow(weight).layers, strict=True)
    ]
    return GradientFlow(layers=(*rows[:-1], rows[-1].model_copy(update={"signal_l2": 1e6, "weight_mean_abs": 1e6})))


@pytest.mark.parametrize("measure", ["factor", "largest_factor"])
@pytest.mark.parametrize(
    ("moment", "quantity", "value"),
    [
        ("init", "signal_l2", 0.11),
        ("init", "weight_mean_abs", 0.12),
        ("epoch 1", "signal_l2", 0.21),
        ("epoch 1", "weight_mean_abs", 0.22),
        ("last", "signal_l2", 0.41),
        ("last", "weight_mean_abs", 0.42),
    ],
)
def test_a_factor_is_of_its_own_moment_and_quantity_and_of_the_convolutions(
    measure: str, moment: str, quantity: str, value: float
) -> None:
    result = make_result(curve=climb(10, 60), initial=flow_of(0.11, 0.12))
    flows = [flow_of(0.21, 0.22), *[flow_of(0.31, 0.32)] * 18, flow_of(0.41, 0.42)]
    epochs = tuple(e.model_copy(update={"flow": flow}) for e, flow in zip(result.epochs, flows, strict=True))
    results = [result.model_copy(update={"epochs": epochs})]
    reading = reading_of(results, measure, ANY, quantity=quantity, moment=moment, **SIGMOID)
    assert numbers_of(reading) == {42: pytest.approx(value)}


def convolutions(*signals: float | None) -> GradientFlow:
    return GradientFlow(
        layers=tuple(LayerGradient(name=f"conv{i}", state="ok", signal_l2=x) for i, x in enumerate(signals, 1))
    )


@pytest.mark.parametrize(
    ("signals", "factor", "largest"),
    [
        ((1.0, 4.0, 2.0, 8.0), 0.5, 2.0),
        ((8.0, 4.0, 2.0, 1.0), 2.0, 2.0),
        ((1.0, 1.0, 1.0, 8.0), 0.5, 1.0),
        ((0.0, 2.0, 4.0, 8.0), 0.0, 0.5),
        ((1.0, 2.0, 4.0, 0.0), None, None),
        ((None, 2.0, 4.0, 8.0), None, None),
        ((1.0, 2.0, 4.0, None), None, None),
        ((1.0, None, 4.0, 8.0), None, None),
        ((1.0, math.inf, 4.0, 8.0), None, None),
    ],
)
@pytest.mark.parametrize("measure", ["factor", "largest_factor"])
def test_factor_is_the_mean_step_and_largest_factor_the_one_that_breaks_monotony(
    measure: str, signals: Sequence[float | None], factor: float | None, largest: float | None
) -> None:
    results = [make_result("relu", seed, initial=convolutions(*signals)) for seed in SEEDS]
    reading = reading_of(results, measure, ANY, quantity="signal_l2", moment="init", **RELU)
    value = factor if measure == "factor" else largest
    assert numbers_of(reading) == dict.fromkeys(SEEDS, value if value is None else pytest.approx(value))
    assert reading.outcome == ("not reproduced" if value is None else "reproduced")


def test_a_gradient_that_shrinks_on_the_whole_but_not_at_every_layer_does_not_shrink_layer_wise() -> None:
    nets = results_of(DOCUMENT)
    shrinks = next(claim for claim in CLAIMS if claim.id == "sigmoid-gradient-shrinks")
    bumpy = [r.model_copy(update={"initial": convolutions(0.001, 0.002, 0.001, 1.0)}) for r in nets]
    (verdict,) = judge([shrinks], make_run(bumpy))
    wrong = [reading.label for reading in verdict.readings if reading.outcome == "not reproduced"]
    assert verdict.outcome == "not reproduced"
    assert all("initialisation" in label for label in wrong)
    signal = [r for r in verdict.readings if "initialisation" in r.label and "signal" in r.label]
    assert [(r.measure, r.outcome) for r in signal] == [("factor", "reproduced"), ("largest_factor", "not reproduced")]


@pytest.mark.parametrize("moment", ["init", "epoch 1", "last"])
def test_gradients_that_were_not_measured_then_are_missing(moment: str) -> None:
    untrained = [make_result(seed=seed, initial=None) for seed in SEEDS]
    asked: dict[str, Any] = {"quantity": "signal_l2", "moment": moment, **SIGMOID}
    assert reading_of(untrained, "factor", ANY, **asked).outcome == "not run"
    only_initial = [make_result(seed=seed) for seed in SEEDS]
    expected = "reproduced" if moment == "init" else "not run"
    assert reading_of(only_initial, "factor", ANY, **asked).outcome == expected


def shifted(name: str, shifts: Mapping[int, Sequence[float]]) -> list[CellResult]:
    """For each seed the published curve of ``name`` moved by that many points after each epoch."""
    return [
        make_result(name, seed, curve=map(sum, zip(PLOTS[name].curve, moved, strict=True)))  # type: ignore[arg-type]
        for seed, moved in shifts.items()
    ]


def distance_of(results: Iterable[CellResult], name: str) -> Reading:
    return reading_of(results, "curve_distance", {"at_most": 3}, architecture="script", of={"activation": name})


@pytest.mark.parametrize("name", PLOTS)
def test_seeds_that_scatter_around_the_published_curve_are_no_distance_from_it_together(name: str) -> None:
    reading = distance_of(results_of({name: PLOTS[name]._replace(scatter=1)}, "script"), name)
    assert reading.mean == pytest.approx(0, abs=1e-9)
    assert numbers_of(reading) == pytest.approx({42: 0, 43: 1, 44: 1}, abs=1e-9)
    assert reading.outcome == "reproduced"


@pytest.mark.parametrize("times", [1, 2, 4])
@pytest.mark.parametrize("name", PLOTS)
def test_seeds_on_both_sides_of_the_published_curve_leave_its_distance_open(name: str, times: int) -> None:
    apart = [x for x in (9.0, -9.0, 0.0) for _ in range(times)]
    reading = distance_of(shifted(name, {seed: [x] * 20 for seed, x in enumerate(apart)}), name)
    assert reading.mean == pytest.approx(0, abs=1e-9)
    assert reading.outcome == "inconclusive"


def test_intervals_of_a_distance_mostly_hold_the_true_one_with_three_seeds() -> None:
    """EXPERIMENT.md asks for 95 %. Seeds lie 2.5 points above the published curve and scatter by 2."""
    random, held, worlds = Random(0), 0, 20
    for _ in range(worlds):
        level = {seed: 2.5 + random.gauss(0, math.sqrt(2.8)) for seed in SEEDS}
        shifts = {seed: [x + random.gauss(0, math.sqrt(1.2)) for _ in range(20)] for seed, x in level.items()}
        reading = distance_of(shifted("sigmoid", shifts), "sigmoid")
        assert reading.low is not None
        assert reading.high is not None
        held += reading.low <= 2.5 <= reading.high
    assert held >= 0.85 * worlds


def test_seeds_that_agree_have_a_distance_without_a_spread() -> None:
    exact = {name: Net([x + 1 for x in net.curve], scatter=0) for name, net in PLOTS.items()}
    (verdict,) = judge([CLAIMS[-1]], make_run(results_of(exact, "script")))
    assert verdict.outcome == "reproduced"
    assert all((r.low, r.mean, r.high) == pytest.approx((1, 1, 1)) for r in verdict.readings)


@pytest.mark.parametrize("seeds", [[42], [42, 43]])
def test_a_curve_of_fewer_than_three_seeds_is_inconclusive(seeds: list[int]) -> None:
    (verdict,) = judge([CLAIMS[-1]], make_run(results_of(PLOTS, "script", seeds)))
    assert {reading.outcome for reading in verdict.readings} == {"inconclusive"}
    assert {reading.seeds_needed for reading in verdict.readings} == {3}


# --- the architecture -----------------------------------------------------------------------------


def change_layers(change: Callable[[list[LayerShape]], object]) -> Callable[[CellResult], CellResult]:
    def changed(result: CellResult) -> CellResult:
        layers = list(result.layers)
        change(layers)
        return result.model_copy(update={"layers": tuple(layers)})

    return changed


def update(**fields: Any) -> Callable[[CellResult], CellResult]:
    return lambda result: result.model_copy(update=fields)


EXTRA = LayerShape(name="norm1", kind="BatchNorm2d", shape=(32, 32, 32))


@pytest.mark.parametrize(
    ("activations", "change", "values"),
    [
        pytest.param(("relu", "sigmoid"), update(), [0, 261_322, 0], id="as it should be"),
        pytest.param(("relu", "sigmoid"), update(parameters=261_323), [0, 261_323, 0], id="a parameter more"),
        pytest.param(("relu", "sigmoid"), update(parameters=None), [0, None, 0], id="parameters never counted"),
        pytest.param(("sigmoid",), update(initial_weights_sha256="other"), [0, 261_322, 1], id="other weights"),
        pytest.param(("sigmoid",), change_layers(lambda x: x.insert(1, EXTRA)), [0, 261_322, 1], id="a layer more"),
        pytest.param(("sigmoid",), change_layers(lambda x: x.pop()), [0, 261_322, 1], id="a layer less"),
        pytest.param(
            ("relu", "sigmoid"),
            change_layers(lambda x: x.__setitem__(-1, x[-1].model_copy(update={"shape": (100,)}))),
            [1, 261_322, 0],
            id="a hundred classes",
        ),
        pytest.param(
            ("relu", "sigmoid"),
            change_layers(lambda x: x.__setitem__(0, x[0].model_copy(update={"shape": (16, 32, 32)}))),
            [0, 261_322, 0],
            id="conv1 has 16 channels but act1 still 32",
        ),
        pytest.param(("relu", "sigmoid"), update(layers=()), [6, 261_322, 0], id="shapes never recorded"),
    ],
)
@pytest.mark.parametrize("seeds", [SEEDS, SEEDS[:1]], ids=["three seeds", "one seed"])
def test_the_architecture_is_judged_exactly_from_any_number_of_seeds(
    seeds: Sequence[int],
    activations: tuple[str, ...],
    change: Callable[[CellResult], CellResult],
    values: list[float | None],
) -> None:
    results = [
        change(r) if r.cell.activation in activations else r
        for r in results_of({name: DOCUMENT[name] for name in ("sigmoid", "relu")}, seeds=seeds)
    ]
    (verdict,) = judge(CLAIMS[:1], make_run(results))
    assert [numbers_of(reading) for reading in verdict.readings] == [dict.fromkeys(seeds, value) for value in values]
    assert {r.method for r in verdict.readings if r.mean is not None} == {"exact"}
    right = [value == expected for value, expected in zip(values, (0, 261_322, 0), strict=True)]
    expected = ["reproduced" if x else "not reproduced" for x in right]
    assert [reading.outcome for reading in verdict.readings] == expected


def test_one_seed_with_other_weights_refutes_the_architecture() -> None:
    results = swap(results_of(DOCUMENT), update(initial_weights_sha256="other"), "readme sigmoid seed 43")
    (verdict,) = judge(CLAIMS[:1], make_run(results))
    assert verdict.outcome == "not reproduced"


def test_the_architecture_says_nothing_of_images_without_ten_classes() -> None:
    data = CANONICAL.model_copy(update={"classes": ("cat", "dog")})
    (verdict,) = judge(CLAIMS[:1], make_run(results_of(DOCUMENT), data=data))
    assert verdict.outcome == "not run"


# --- whole runs -----------------------------------------------------------------------------------


def test_a_run_of_both_architectures_gets_one_verdict_for_each_in_the_claims_order() -> None:
    run = make_run([*results_of(DOCUMENT, "readme"), *results_of(PLOTS, "script")])
    found = [(verdict.claim, verdict.architecture) for verdict in judge(CLAIMS, run)]
    assert found == [
        (claim.id, architecture)
        for claim in CLAIMS
        for architecture in (("script",) if claim.id == "published-curves" else ("readme", "script"))
    ]


def test_an_architectures_verdict_looks_at_its_own_networks_only() -> None:
    readme, script = results_of(DOCUMENT, "readme"), results_of(PLOTS, "script")
    both = judge(CLAIMS, make_run([*readme, *script]))
    alone = [*judge(CLAIMS[:-1], make_run(readme)), *judge(CLAIMS, make_run(script))]
    assert sorted(both, key=repr) == sorted(alone, key=repr)


def test_an_architecture_that_was_planned_and_never_trained_is_not_run() -> None:
    planned = make_run([*results_of(DOCUMENT, "readme"), *results_of(DOCUMENT, "script")])
    run = planned.model_copy(update={"results": tuple(results_of(DOCUMENT, "readme"))})
    found = [verdict for verdict in judge(CLAIMS, run) if verdict.architecture == "script"]
    assert len(found) == len(CLAIMS)
    assert {verdict.outcome for verdict in found} == {"not run"}


@settings(max_examples=4)
@given(st.randoms())
def test_the_order_of_the_results_changes_no_verdict(random: Any) -> None:
    results = [*results_of(DOCUMENT, "readme"), *results_of(PLOTS, "script")]
    run = make_run(results)
    random.shuffle(results)
    assert judge(CLAIMS, run.model_copy(update={"results": tuple(results)})) == judge(CLAIMS, run)


@settings(max_examples=25)
@given(few, st.permutations(range(7)))
def test_which_seed_had_which_value_changes_no_outcome(numbers: list[float], order: list[int]) -> None:
    shuffled = [numbers[i] for i in order if i < len(numbers)]
    asked: dict[str, Any] = {"accept": {"at_least": -3, "below": 3}, "epoch": (1,), **SIGMOID}
    found = [
        reading_of([make_result(seed=seed, curve=[x]) for seed, x in enumerate(column)], "accuracy", **asked).outcome
        for column in (numbers, shuffled)
    ]
    assert found[0] == found[1]


def test_judging_no_claims_gives_no_verdicts() -> None:
    assert judge([], make_run(results_of(DOCUMENT))) == ()
