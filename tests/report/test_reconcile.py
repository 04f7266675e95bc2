"""Which networks could have given the README's numbers: by hand-made curves whose answers are known."""

import pytest
from factories import CANONICAL, make_result, make_run

from vgharness.records import Run
from vgharness.report.reconcile import conclusions, numbers, reconciled

pytestmark = pytest.mark.fast

RE_ENCODED = CANONICAL.model_copy(update={"cifar10": "re-encoded"})


def run_of(sigmoid: float, relu: float, *, depth: int = 4, re_encoded: bool = False) -> Run:
    """Three seeds a little apart; ReLU as in the README at the first epoch, sigmoid too."""
    results = [
        make_result(activation, seed, depth=depth, curve=[start + seed - 43, *[end] * 18, end + (seed - 43) / 2])
        for activation, start, end in (("sigmoid", 45, sigmoid), ("relu", 60, relu))
        for seed in (42, 43, 44)
    ]
    return make_run(results, data=RE_ENCODED if re_encoded else CANONICAL)


def answers(run: Run) -> dict[str, str]:
    return {number.name: possibilities[0].answer for number, possibilities in reconciled(run)}


def test_the_numbers_are_those_of_the_readmes_table_and_plots() -> None:
    assert [(x.activation, x.first, x.low, x.high) for x in numbers() if x.source == "table"] == [
        ("relu", True, 60, 60),
        ("relu", False, 82, 83),
        ("sigmoid", True, 45, 45),
        ("sigmoid", False, 72, 74),
    ]
    assert sorted(x.low for x in numbers() if x.source == "plots") == pytest.approx([25.4, 54.5, 66.9, 81.7], abs=0.05)


def test_a_number_within_reach_of_one_run_could_be_one() -> None:
    found = answers(run_of(73, 82.5))
    assert {name: found[name] for name in found if "table" in name} == dict.fromkeys(
        [name for name in found if "table" in name], "yes"
    )
    assert list(conclusions(reconciled(run_of(73, 82.5))))[-1] == "all numbers of the table: script"


def test_what_no_network_gives_is_said() -> None:
    lines = list(conclusions(reconciled(run_of(50, 70))))
    assert "sigmoid, after the last epoch: 72–74 % (table): none of 1 network could" in lines
    assert lines[-1] == "all numbers of the table: no network could have given them all"


def test_what_re_encoded_images_may_cost_is_told_apart() -> None:
    found = answers(run_of(73, 77, re_encoded=True))
    assert found["relu, after the last epoch: 82–83 % (table)"] == "only with the images' loss added"
    assert answers(run_of(73, 77))["relu, after the last epoch: 82–83 % (table)"] == "no"


def test_networks_that_differ_are_told_apart_by_all_their_settings() -> None:
    both = make_run([*run_of(73, 82.5).results, *run_of(50, 70, depth=6).results])
    lines = list(conclusions(reconciled(both)))
    assert "relu, after the last epoch: 82–83 % (table): script of 2 networks could" in lines
