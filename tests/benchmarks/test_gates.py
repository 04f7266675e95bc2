"""What the builds of ``bench gates`` are made of, and that they show a comparison that is wrong."""

from types import SimpleNamespace

import pytest

from vgharness.benchmarks import gates
from vgharness.benchmarks.gates import ALWAYS_RED, CHANGED, UNCHANGED, Gate, Network, gates_of, measure_pool
from vgharness.formatting import relative_change

pytestmark = pytest.mark.fast

SMALL = Network("3 layers", 3)
OTHER_SEEDS, REORDERED, THREADS = UNCHANGED


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "SEEDS", (3, 5))
    monkeypatch.setattr(gates, "_POOL", 24)


def red(found: list[Gate], case: gates.Case) -> list[int]:
    return [gate.red for gate in found if gate.case == case.name]


def test_what_has_changed_is_red_with_the_same_seeds() -> None:
    same, other = CHANGED[:2]
    assert same is ALWAYS_RED
    found = gates_of(SMALL, (same, other), 4)
    assert red(found, same) == [4, 4]
    assert all(few < 4 for few in red(found, other))
    assert [(gate.network, gate.limits, gate.builds, gate.seeds) for gate in found[:2]] == [
        ("3 layers", ("signal_l2:-5%",), 4, seeds) for seeds in (3, 5)
    ]


@pytest.mark.parametrize("tests", [1, 2])
def test_nothing_has_changed_where_nothing_has(tests: int) -> None:
    network = SMALL._replace(tests=tests)
    assert [gate.red for gate in gates_of(network, (THREADS,), 3)] == [0, 0]
    found = gates_of(network, (OTHER_SEEDS, REORDERED), 5)
    assert len(found) == 12
    assert sum(gate.red for gate in found) <= 3


@pytest.mark.parametrize("case", [OTHER_SEEDS, REORDERED])
def test_the_sides_of_a_build_share_no_model_and_are_labelled_as_the_case_says(
    case: gates.Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        gates,
        "compare_samples",
        lambda before, after, limits: seen.append((before, after)) or SimpleNamespace(regressions=(1,)),
    )
    found = gates_of(SMALL._replace(tests=2), (case,), 1)
    assert all(gate.red == 1 for gate in found)  # a comparison that is always red is seen to be
    for before, after in seen:
        assert [x.label for x in before] == [x.label for x in after] == ["test_0", "test_1"]
        flows = [flow for sample in (*before, *after) for flow in sample.flows]
        assert len({flow.model_dump_json() for flow in flows}) == len(flows)
        seeds = [[x.seeds for x in side] for side in (before, after)]
        assert (seeds[0] == seeds[1]) is case.relabelled


@pytest.mark.parametrize("case", CHANGED[::2])
def test_a_true_change_is_as_large_as_it_is_called(case: gates.Case) -> None:
    before, after = measure_pool(3, range(20)), measure_pool(3, range(20), case.scale)
    ratios = [after[i].layers[0].signal_l2 / before[i].layers[0].signal_l2 for i in before]  # type: ignore[operator]
    assert sum(ratios) / len(ratios) == pytest.approx(case.scale, abs=0.03)
    assert len(set(ratios)) == len(ratios)  # and no constant, which would be decided without a test
    assert case.name.startswith(relative_change(case.scale - 1)[:3])


def test_deep_models_are_measured_linear_layer_by_linear_layer() -> None:
    (flow,) = measure_pool(21, [42]).values()
    assert len(flow.layers) == 21
    assert all(layer.signal_l2 for layer in flow.layers)
