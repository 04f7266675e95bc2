"""Made-up networks whose curves and gradients a test knows, and what is judged of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

from factories import make_result, make_run
from hypothesis import strategies as st

from vgharness.claims.evidence import Measurement
from vgharness.claims.published import published_curves
from vgharness.claims.spec import Accept, Claim, ReadingSpec, load_claims
from vgharness.claims.verdicts import decide, judge
from vgharness.records import Architecture, CellResult, Outcome, Reading, Run, SeedValue
from vgharness.statistics import Summary

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
BAND = {"at_least": 42, "at_most": 48}

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


def values_of(numbers: Iterable[float], **fields: Any) -> list[SeedValue]:
    return [SeedValue(seed=seed, value=number, **fields) for seed, number in enumerate(numbers, SEEDS[0])]


def spec_of(measure: str, accept: Accept | Mapping[str, float]) -> ReadingSpec:
    """A reading that names all that any measure needs."""
    return ReadingSpec.model_validate(
        {
            "label": measure,
            "measure": measure,
            "accept": accept,
            "epoch": "last",
            "quantity": "signal_l2",
            "moment": "init",
            **RATIO,
        }
    )


def decided(
    accept: Accept | Mapping[str, float], numbers: Iterable[float], measure: str = "accuracy", **fields: Any
) -> Reading:
    """What is decided of one number per seed."""
    return decide(spec_of(measure, accept), Measurement(values_of(numbers, **fields)))


def decided_by(accept: Accept | Mapping[str, float], numbers: Iterable[float], summary: Summary) -> Reading:
    """What is decided of a measurement that brings its own summary."""
    return decide(spec_of("accuracy", accept), Measurement(values_of(numbers), summary))


def cut(result: CellResult, epochs: int, status: str) -> CellResult:
    return result.model_copy(update={"epochs": result.epochs[:epochs], "status": status})


def swap(results: Iterable[CellResult], change: Callable[[CellResult], CellResult], *names: str) -> list[CellResult]:
    """``results`` with ``change`` made to those whose cell's name ends in one of ``names``."""
    return [change(result) if result.cell.name.endswith(names) else result for result in results]


small = st.integers(-20, 20).map(lambda x: x / 2)
few = st.lists(small, min_size=3, max_size=7)


@st.composite
def accepts(draw: st.DrawFn) -> Accept:
    low, high = sorted(draw(st.lists(st.integers(-10, 10), min_size=2, max_size=2, unique=True)))
    lower, upper = draw(st.sampled_from(("at_least", "above", ""))), draw(st.sampled_from(("at_most", "below")))
    return Accept(**{name: end for name, end in ((lower, low), (upper, high)) if name})
