"""The studied README's claims on made-up runs: each held, each refuted, each not run for want of a cell."""

import pytest
from factories import CANONICAL, SYNTHETIC, make_run
from worlds import CLAIMS, DOCUMENT, HELD, PLOTS, SEEDS, Net, climb, numbers_of, outcomes, results_of, step

from vgharness.claims.verdicts import judge
from vgharness.records import Architecture, Outcome

pytestmark = pytest.mark.fast

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
    means = [reading.value for reading in verdict.readings]
    assert means == pytest.approx([offset if name == other else 0 for other in ("sigmoid", "relu")], abs=1e-9) or (
        offset < 0 and max(x or 0 for x in means) == pytest.approx(-offset)
    )


# --- what is missing ------------------------------------------------------------------------------


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
    assert found["sigmoid-final"].readings[0].value == pytest.approx(73)


@pytest.mark.parametrize("epochs", [1, 19])
def test_published_curves_are_not_run_before_their_last_epoch(epochs: int) -> None:
    nets = {name: net._replace(curve=net.curve[:epochs]) for name, net in PLOTS.items()}
    (verdict,) = judge([CLAIMS[-1]], make_run(results_of(nets, "script")))
    assert verdict.outcome == "not run"
    assert "20" in verdict.reason
