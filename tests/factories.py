"""Records made up for tests, without torch or training, and what several tests check."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from vgharness.errors import UsageError
from vgharness.records import (
    Activation,
    Architecture,
    Cell,
    CellResult,
    Epoch,
    GradientFlow,
    LayerError,
    LayerGradient,
    LayerShape,
    LogRow,
    Machine,
    MomentErrors,
    Outcome,
    Provenance,
    Reading,
    Run,
    SeedValue,
    Snapshot,
    Study,
    TrainingLog,
    Verdict,
    WatchedModel,
)

MACHINE = Machine(
    id="Linux-x86_64-py3.11-cpu",
    system="Linux",
    processor="a processor",
    cores=2,
    threads=2,
    device="cpu",
    python="3.11.0",
    versions={"torch": "2.11.0"},
)
CANONICAL = Provenance(
    kind="cifar10",
    description="CIFAR-10, the canonical files",
    cifar10="canonical",
    sha256="0" * 64,
    classes=tuple(f"class {i}" for i in range(10)),
    train_images=50_000,
    test_images=10_000,
)
SYNTHETIC = CANONICAL.model_copy(
    update={"kind": "synthetic", "description": "synthetic shapes drawn by vgharness", "cifar10": "no"}
)
LOG_ROWS = (LogRow(name="conv1"), LogRow(name="conv2"))
SIZES = {"readme": (32, 32, 16, 8), "script": (32, 16, 8, 4)}
POOLS = {"readme": (2, 3, 4), "script": (1, 2, 3)}


def make_flow(factor: float = 0.8, last: float = 1.0, layers: int = 4) -> GradientFlow:
    """Convolutions whose every quantity is multiplied by ``factor`` for each layer toward the input."""
    rows = []
    for index in range(1, layers + 1):
        value = last * factor ** (layers - index)
        rows.append(
            LayerGradient(
                name=f"conv{index}",
                state="ok",
                weight_mean_abs=value,
                weight_l2=value,
                signal_l2=value,
                signal_rms=value,
            )
        )
    return GradientFlow(layers=(*rows, rows[-1].model_copy(update={"name": "fc"})))


def make_errors(epoch: int = 0, size: float | None = 1e-3) -> MomentErrors:
    """The same relative error of every quantity of the layers that :func:`make_flow` has by default."""
    each = dict.fromkeys(("weight_mean_abs", "weight_l2", "signal_l2", "signal_rms"), size)
    names = [layer.name for layer in make_flow().layers]
    return MomentErrors(epoch=epoch, layers=tuple(LayerError(name=name, **each) for name in names))


def make_layers(architecture: Architecture, activation: Activation) -> tuple[LayerShape, ...]:
    """What a DeepCNN of depth 4 puts out, written down independently of it."""
    layers = []
    for index, (channels, size) in enumerate(zip((32, 64, 128, 128), SIZES[architecture], strict=True), 1):
        layers.append(LayerShape(name=f"conv{index}", kind="Conv2d", shape=(channels, size, size)))
        layers.append(LayerShape(name=f"act{index}", kind=activation, shape=(channels, size, size)))
        if index in POOLS[architecture]:
            layers.append(LayerShape(name=f"pool{index}", kind="MaxPool2d", shape=(channels, size // 2, size // 2)))
    layers.append(LayerShape(name="flatten", kind="Flatten", shape=(2048,)))
    layers.append(LayerShape(name="fc", kind="Linear", shape=(10,)))
    return tuple(layers)


def make_result(
    activation: Activation = "sigmoid",
    seed: int = 42,
    *,
    architecture: Architecture = "script",
    depth: int = 4,
    curve: Iterable[float] = (),
    factor: float = 0.8,
    epochs: int | None = None,
    **changes: object,
) -> CellResult:
    """A cell with test accuracies ``curve``, one per epoch. ``epochs``: how many were planned. ``changes``: of its
    fields, such as ``numerics``, of which it has none by itself; they are not validated."""
    curve = tuple(curve)
    result = CellResult(
        cell=Cell(
            architecture=architecture,
            activation=activation,
            depth=depth,
            seed=seed,
            epochs=len(curve) if epochs is None else epochs,
        ),
        status="finished",
        parameters=261_322,
        layers=make_layers(architecture, activation),
        initial_weights_sha256=f"weights of seed {seed}",
        initial=make_flow(factor),
        epochs=tuple(
            Epoch(
                epoch=number,
                train_loss=2.0,
                train_accuracy=accuracy,
                test_loss=2.0,
                test_accuracy=accuracy,
                seconds=1.0,
                flow=make_flow(factor),
            )
            for number, accuracy in enumerate(curve, 1)
        ),
        heatmap=tuple(tuple(1e-6 * (i + j + 1) for j in range(32)) for i in range(32)) if curve else None,
        seconds=float(len(curve)),
    )
    return result.model_copy(update=changes)


def make_run(results: Iterable[CellResult], *, data: Provenance = CANONICAL, **changes: object) -> Run:
    """A finished run that holds ``results`` and planned just their cells."""
    results = tuple(results)
    run = Run(
        created="2026-01-01T00:00:00+00:00",
        status="finished",
        command="python -m vgharness.full",
        commit="abc",
        machine=MACHINE,
        data=data,
        study=Study(preset="script", cells=tuple(r.cell for r in results)),
        results=results,
        seconds=1.0,
    )
    return run.model_copy(update=changes)


def make_reading(
    outcome: Outcome = "reproduced", numbers: Iterable[float | None] = (1.0, 2.0), **fields: Any
) -> Reading:
    """A reading of one value per seed, counted from 42; nothing is decided of it but what ``fields`` say."""
    values = tuple(SeedValue(seed=seed, value=value) for seed, value in enumerate(numbers, 42))
    defaults = {"label": "a value", "quantity": "test_accuracy", "expected": "≥ 1", "unit": "%", "values": values}
    return Reading.model_validate({**defaults, "outcome": outcome, **fields})


def make_verdict(outcome: Outcome = "reproduced", *readings: Reading, **fields: Any) -> Verdict:
    """A verdict of that outcome, by default with one reading of the same."""
    defaults = {"claim": "it-is-so", "variant": "script", "sentence": "It is so, and more."}
    given = readings or (make_reading(outcome),)
    return Verdict.model_validate({**defaults, "outcome": outcome, "readings": given, **fields})


def paired(
    seeds: Iterable[int], curves: dict[Activation, Callable[[int], Iterable[float]]], **changes: object
) -> list[CellResult]:
    """For each seed one result per activation, with the curve that its function gives for the seed."""
    return [make_result(a, seed, curve=curve(seed), **changes) for seed in seeds for a, curve in curves.items()]


def without_seconds(result: CellResult) -> dict[str, Any]:
    """What must not depend on how fast the machine was."""
    fields = result.model_dump()
    for part in (fields, *fields["epochs"]):
        assert part.pop("seconds") > 0
    return fields


def failure(make: Callable[[], Any]) -> str:
    """The one line of the usage error that ``make`` raises."""
    with pytest.raises(UsageError) as caught:
        make()
    line = str(caught.value)
    assert "\n" not in line
    return line


def make_log_head(*models: str) -> TrainingLog:
    """A training log of models of these names, of one without a name where there is none; nothing was seen yet."""
    return TrainingLog(
        created="2026-01-02T03:04:05+00:00",
        commit="abc1234",
        command="python train.py",
        machine=MACHINE,
        every=1,
        models=tuple(WatchedModel(name=name, architecture="Net", parameters=1234) for name in models or ("",)),
    )


def make_snapshot(step: int, rows: int = 0, model: str = "", signals: Any = (0.5, 1.0), **fields: Any) -> Snapshot:
    """A snapshot with a row for each of ``signals``, of :data:`LOG_ROWS` by default."""
    states = tuple("ok" if x is not None else "unused" for x in signals)
    return Snapshot(
        step=step, batch=step, model=model, rows=rows, states=states, values={"signal_l2": signals}, **fields
    )
