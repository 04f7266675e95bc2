"""Made-up networks whose curves and gradients a test knows, and what is judged of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

from factories import make_result, make_run

from vgharness.claims.evidence import Evidence
from vgharness.claims.loading import load_claims
from vgharness.claims.published import published_curves
from vgharness.claims.spec import Claim, ReadingSpec
from vgharness.claims.subject import Subject
from vgharness.claims.verdicts import judge
from vgharness.records import Architecture, CellResult, Document, Outcome, Reading, Run, Verdict

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


def tuples(value: Any) -> Any:
    """As the loader gives it: lists are tuples."""
    if isinstance(value, dict):
        return {key: tuples(each) for key, each in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value


def claim_of(quantity: str, accept: Mapping[str, Any] | None, variant: str = "", **fields: Any) -> Claim:
    """A claim of one reading; ``of`` and ``against`` are the factors of their networks."""
    named = {
        key: Subject(factors=value) if isinstance(value, dict) else value
        for key, value in fields.items()
        if key in ("of", "against")
    }
    reading = {"quantity": quantity, "accept": accept, **fields, **named}
    return Claim(
        id="made-up",
        sentences=("It is so.",),
        readings=(ReadingSpec.model_validate(tuples(reading)),),
        document=Document(title="made up"),
        recipe=CLAIMS[0].recipe,
        for_each="architecture",
        variant=variant,
    )


def reading_of(
    results: Iterable[CellResult], quantity: str, accept: Mapping[str, Any] | None, **fields: Any
) -> Reading:
    (verdict,) = judge([claim_of(quantity, accept, **fields)], Evidence.of(make_run(results)))
    (reading,) = verdict.readings
    assert verdict.outcome == reading.outcome
    return reading


def judged(run: Run, claims: Iterable[Claim] | None = None) -> tuple[Verdict, ...]:
    return judge(CLAIMS if claims is None else claims, Evidence.of(run))


def outcomes(run: Run) -> dict[str, Outcome]:
    return {verdict.claim: verdict.outcome for verdict in judged(run)}


def numbers_of(reading: Reading) -> dict[int, float | None]:
    return {value.seed: value.value for value in reading.values}


def bounds_of(reading: Reading) -> set[tuple[float | None, float | None] | None]:
    return {(x.bounds.low, x.bounds.high) if x.bounds else None for x in reading.values}


SIGMOID: dict[str, Any] = {"of": {"activation": "sigmoid"}}
RELU: dict[str, Any] = {"of": {"activation": "relu"}}
GAP: dict[str, Any] = {"of": {"activation": "relu"}, "against": {"activation": "sigmoid"}, "by": "difference"}
RATIO: dict[str, Any] = {
    "of": {"activation": "sigmoid"},
    "against": {"activation": "relu"},
    "by": "ratio",
    "passes": {"above": 50.0},
}
ANY: dict[str, float] = {"at_least": -1e9}
BAND = {"at_least": 42.0, "at_most": 48.0}

# A world in which all of the README is true, its published curves apart: they contradict its table.
DOCUMENT = {
    "sigmoid": Net(climb(45, 73), factor=0.3),
    "relu": Net(climb(60, 82.5), factor=0.9),
    "tanh": Net(factor=0.8),
    "identity": Net(factor=0.95),
    "sigmoid 2": Net(climb(60, 70)),
    "relu 2": Net(climb(62, 73)),
    "sigmoid 6": Net(step(None)),
    "sigmoid 8": Net(step(None)),
    "sigmoid 10": Net(step(None)),
}
PLOTS = {name: Net([row["test_accuracy_percent"] for row in rows]) for name, rows in published_curves().items()}
HELD = {claim.id for claim in CLAIMS} - {"published-curves"}


def cut(result: CellResult, epochs: int, status: str) -> CellResult:
    return result.model_copy(update={"epochs": result.epochs[:epochs], "status": status})


def swap(results: Iterable[CellResult], change: Callable[[CellResult], CellResult], *names: str) -> list[CellResult]:
    """``results`` with ``change`` made to those whose cell's name ends in one of ``names``."""
    return [change(result) if result.cell.name.endswith(names) else result for result in results]
