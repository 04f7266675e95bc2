"""What is measured of the README's published curves and of its architecture."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any

import pytest
from factories import CANONICAL, make_result, make_run
from worlds import CLAIMS, DOCUMENT, PLOTS, SEEDS, Net, numbers_of, reading_of, results_of, swap

from vgharness.claims.verdicts import judge
from vgharness.records import CellResult, LayerShape, Reading

pytestmark = pytest.mark.fast

# --- the distance from the published curves -------------------------------------------------------


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
    assert reading.value == pytest.approx(0, abs=1e-9)
    assert numbers_of(reading) == pytest.approx({42: 0, 43: 1, 44: 1}, abs=1e-9)
    assert reading.outcome == "reproduced"


@pytest.mark.parametrize("times", [1, 2, 4])
@pytest.mark.parametrize("name", PLOTS)
def test_seeds_on_both_sides_of_the_published_curve_leave_its_distance_open(name: str, times: int) -> None:
    apart = [x for x in (9.0, -9.0, 0.0) for _ in range(times)]
    reading = distance_of(shifted(name, {seed: [x] * 20 for seed, x in enumerate(apart)}), name)
    assert reading.value == pytest.approx(0, abs=1e-9)
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
    assert all((r.low, r.value, r.high) == pytest.approx((1, 1, 1)) for r in verdict.readings)


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
    assert {r.method for r in verdict.readings if r.value is not None} == {"exact"}
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
