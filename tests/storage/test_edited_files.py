"""Files that somebody edited: each is refused in one line that says what is wrong, or is a record like any other."""

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from factories import MACHINE, failure, make_errors, make_flow, make_result, make_run

from vgharness.errors import UsageError
from vgharness.records import (
    LayerGradient,
    LayerPrediction,
    ParameterGradient,
    Reading,
    Run,
    Sample,
    SeedValue,
    Session,
    Steps,
    TimePath,
    Verdict,
)
from vgharness.storage.store import load_run, load_session, to_json

pytestmark = pytest.mark.fast

Keys = tuple[str | int, ...]

PREDICTION = LayerPrediction(
    name="conv1", above="conv2", measured=0.5, predicted=None, bound=0.9, twin_measured=0.4, twin_predicted=0.4
)
READING = Reading(
    label="accuracy",
    quantity="accuracy",
    expected="42 to 48",
    outcome="reproduced",
    values=(SeedValue(seed=42, value=45.0),),
)
VERDICT = Verdict(claim="x", variant="script", sentence="~45%", outcome="reproduced", readings=(READING,))
RUN = make_run(
    [
        make_result(a, curve=[10.0, 20.0], numerics=(make_errors(0), make_errors(1)), predictions=(PREDICTION,))
        for a in ("sigmoid", "relu")
    ],
    verdicts=(VERDICT,),
)
ROW = LayerGradient(
    name="conv1",
    state="ok",
    signal_l2=1.0,
    feeds=(("conv2", 0, 0),),
    parameters=(ParameterGradient(name="conv1.weight", mean_abs=1.0, l2=2.0),),
    output_rms=1.0,
    output_zeros=0.5,
)
FLOW = make_flow().model_copy(
    update={
        "layers": (ROW, *make_flow().layers[1:]),
        "unreached": {"conv1": 1},
        "through_time": (TimePath(layer="rnn", part="layer 0", signals=(1.0, None), direct=0.1),),
        "output_spread": 0.1,
    }
)
SESSION = Session(
    created="2026-01-02T03:04:05+00:00",
    command="pytest",
    commit=None,
    machine=MACHINE,
    samples=(
        Sample(
            test="tests/test_model.py::test_flow",
            seeds=(42, 43),
            flows=(FLOW, FLOW),
            custom={"mine": ((1.0,) * 5, (None,) * 5)},
            later=(Steps(optimizer="SGD", seed=42, flows=(FLOW, FLOW)),),
            extra_info={"a": [1, {"b": None}]},
        ),
    ),
    extra={"precision": "highest"},
)
LOADERS: Final = {Run: load_run, Session: load_session}

# What JSON has no token for, or what Python would not write: put into the text in its place.
TOKENS: Final = {"<infinite>": "1e999", "<long>": "1" + "0" * 400, "<endless>": "1" + "0" * 5000, "<nan>": "NaN"}


def written(content: Any, folder: Path) -> Path:
    text = json.dumps(content)
    for name, token in TOKENS.items():
        text = text.replace(f'"{name}"', token)
    path = folder / "edited.json"
    path.write_text(text, encoding="utf-8")
    return path


def content_of(record: Run | Session) -> Any:
    return json.loads(to_json(record))


def edited(record: Run | Session, keys: Keys, value: Any) -> Any:
    content = content_of(record)
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value(part[keys[-1]]) if callable(value) else value
    return content


def twice(values: list[Any]) -> list[Any]:
    return [*values, values[0]]


RESULT: Keys = ("results", 0)
EPOCH: Keys = (*RESULT, "epochs", 0)
LAYER: Keys = (*EPOCH, "flow", "layers", 0)
THREE_ROWS = {"initial": json.loads(make_flow(layers=2).model_dump_json()), "numerics": []}
NEGATIVE = "greater than or equal to 0"

RUN_EDITS: list[tuple[Keys, Any, str]] = [
    ((*RESULT, "heatmap"), lambda rows: [*rows[:-1], rows[-1][:-1]], "results.0.heatmap.31: .*at least 32"),
    ((*RESULT, "heatmap"), lambda rows: rows[:-1], "results.0.heatmap: .*at least 32"),
    ((*RESULT, "heatmap"), [], "results.0.heatmap: .*at least 32"),
    ((*RESULT, "heatmap", 3, 4), -1e-9, f"results.0.heatmap.3.4: .*{NEGATIVE}"),
    ((*RESULT, "heatmap", 3, 4), 1e41, "results.0.heatmap.3.4: .*less than or equal to 10000"),
    ((*RESULT, "heatmap", 3, 4), None, "results.0.heatmap.3.4: .*valid number"),
    ((*RESULT, "parameters"), -1, f"results.0.parameters: .*{NEGATIVE}"),
    ((*RESULT, "seconds"), -0.5, f"results.0.seconds: .*{NEGATIVE}"),
    ((*RESULT, "layers", 0, "shape"), [32, 0, 32], "results.0.layers.0.shape.1: .*greater than or equal to 1"),
    ((*RESULT, "predictions", 0, "bound"), -1, f"results.0.predictions.0.bound: .*{NEGATIVE}"),
    ((*RESULT, "predictions", 0, "above"), "conv3", "script relu seed 42: predictions are not of the same layers"),
    ((*RESULT, "numerics", 0, "layers", 0, "signal_l2"), -1, f"numerics.0.layers.0.signal_l2: .*{NEGATIVE}"),
    ((*RESULT, "numerics", 0, "layers"), [], "results.0.numerics.0.layers: .*at least 1"),
    ((*RESULT, "numerics"), lambda moments: moments[::-1], "results.0: numerics are of moments in order"),
    ((*RESULT, "numerics", 1, "epoch"), 3, "results.0: numerics are of moments in order, up to the last finished"),
    ((*RESULT, "numerics", 1, "layers"), lambda rows: rows[1:], "results.0: numerics are not of the same layers"),
    (RESULT, lambda result: {**result, "epochs": []} | THREE_ROWS, "gradients are not of the same"),
    ((*RESULT, "epochs"), lambda epochs: epochs[1:], "results.0: epochs are numbered 1, 2, 3 and so on"),
    ((*RESULT, "epochs"), lambda epochs: epochs[::-1], "results.0: epochs are numbered 1, 2, 3 and so on"),
    ((*EPOCH, "epoch"), 2, "results.0: epochs are numbered 1, 2, 3 and so on"),
    ((*EPOCH, "epoch"), "<long>", "results.0.epochs.0.epoch: .*less than"),
    ((*RESULT, "cell", "epochs"), 1, "results.0: 2 epochs, of a cell with 1"),
    ((*RESULT, "cell", "epochs"), 10**9, "results.0.cell.epochs: .*less than or equal to 1000000"),
    ((*RESULT, "cell", "seed"), 7, "as a whole: the study has no cell script sigmoid seed 7"),
    (("results",), twice, "as a whole: two results are script sigmoid seed 42"),
    ((*EPOCH, "train_accuracy"), 100.1, "results.0.epochs.0.train_accuracy: .*less than or equal to 100"),
    ((*EPOCH, "test_accuracy"), -0.1, f"results.0.epochs.0.test_accuracy: .*{NEGATIVE}"),
    ((*EPOCH, "test_accuracy"), "<nan>", "not a whole JSON file .NaN is no JSON"),
    ((*EPOCH, "train_loss"), -1, f"results.0.epochs.0.train_loss: .*{NEGATIVE}"),
    ((*EPOCH, "test_loss"), 1e41, "results.0.epochs.0.test_loss: .*less than or equal to 10000"),
    ((*EPOCH, "test_loss"), "<infinite>", "results.0.epochs.0.test_loss: .*finite"),
    ((*EPOCH, "test_loss"), "<long>", "results.0.epochs.0.test_loss: .*valid number"),
    ((*EPOCH, "test_loss"), "<endless>", "not a whole JSON file .Exceeds the limit"),
    ((*EPOCH, "seconds"), -1, f"results.0.epochs.0.seconds: .*{NEGATIVE}"),
    ((*LAYER, "weight_l2"), -1e-30, f"layers.0.weight_l2: .*{NEGATIVE}"),
    ((*LAYER, "weight_l2"), "<infinite>", "layers.0.weight_l2: .*finite"),
    ((*LAYER, "saturated"), 1.5, "layers.0.saturated: .*less than or equal to 1"),
    ((*LAYER, "relative_update"), -1, f"layers.0.relative_update: .*{NEGATIVE}"),
    ((*LAYER, "forward_pass"), "<long>", "layers.0.forward_pass: .*less than"),
    ((*EPOCH, "flow", "layers"), twice, "epochs.0.flow: two rows are of the same pass"),
    ((*EPOCH, "flow", "layers"), lambda rows: rows[1:], "results.0: the flows are not of the same layers"),
    ((*RESULT, "initial", "layers"), [], "results.0: the flows are not of the same layers"),
    (("study", "cells"), [], "study.cells: .*at least 1"),
    (("study", "cells"), twice, "study: two cells are script sigmoid seed 42"),
    (("study", "train_images"), 0, "study.train_images: .*greater than or equal to 1"),
    (("data", "test_images"), 0, "data.test_images: .*greater than or equal to 1"),
    (("machine", "id"), "../elsewhere", "machine.id: .*pattern"),
    (("machine", "id"), "..", "machine.id: .*pattern"),
    (("verdicts", 0, "readings"), [], "verdicts.0.readings: .*at least 1"),
    (("verdicts", 0, "readings", 0, "values", 0, "value"), "<infinite>", "values.0.value: .*finite"),
    (("seconds",), -1, f"seconds: .*{NEGATIVE}"),
    (("created",), "\ud800", "a text in it holds half a character"),
    (("machine", "versions"), {"\udfff": "1"}, "a text in it holds half a character"),
]
SAMPLE: Keys = ("samples", 0)
SESSION_EDITS: list[tuple[Keys, Any, str]] = [
    ((*SAMPLE, "flows", 0, "layers", 0, "signal_l2"), -1, f"layers.0.signal_l2: .*{NEGATIVE}"),
    ((*SAMPLE, "flows", 0, "layers", 0, "output_zeros"), 2, "layers.0.output_zeros: .*less than or equal to 1"),
    ((*SAMPLE, "flows", 0, "layers", 0, "feeds", 0, 1), -1, f"layers.0.feeds.0.1: .*{NEGATIVE}"),
    ((*SAMPLE, "flows", 0, "layers", 0, "parameters", 0, "l2"), -1, f"parameters.0.l2: .*{NEGATIVE}"),
    ((*SAMPLE, "flows", 0, "through_time", 0, "signals", 0), -1, f"through_time.0.signals.0: .*{NEGATIVE}"),
    ((*SAMPLE, "flows", 0, "through_time", 0, "signals", 0), "<long>", "signals.0: .*valid number"),
    ((*SAMPLE, "flows", 0, "through_time", 0, "signals", 0), "<infinite>", "signals.0: .*finite"),
    ((*SAMPLE, "flows", 0, "through_time", 0, "signals"), 5, "through_time.0.signals: .*valid tuple"),
    ((*SAMPLE, "flows", 0, "through_time", 0, "direct"), "much", "through_time.0.direct: .*valid number"),
    ((*SAMPLE, "flows", 0, "unreached", "conv1"), -1, f"unreached.conv1: .*{NEGATIVE}"),
    ((*SAMPLE, "flows", 0, "output_spread"), -1, f"output_spread: .*{NEGATIVE}"),
    ((*SAMPLE, "flows"), [], "samples.0: 2 seeds and 0 flows"),
    ((*SAMPLE, "seeds", 0), "<long>", "samples.0.seeds.0: .*less than"),
    ((*SAMPLE, "custom", "mine", 0), [1.0], "samples.0: custom quantity 'mine': give one value per seed and layer"),
    ((*SAMPLE, "custom", "mine", 0, 0), "<infinite>", "samples.0.custom.mine.0.0: .*finite"),
    ((*SAMPLE, "later", 0, "flows"), [], "samples.0.later.0.flows: .*at least 2"),
    (("samples",), twice, "as a whole: two samples are called"),
    (("extra", "a\nb"), "<infinite>", r"extra.a\\nb.*: .*finite"),
]


@pytest.mark.parametrize(
    ("record", "keys", "value", "line"),
    [*((RUN, *edit) for edit in RUN_EDITS), *((SESSION, *edit) for edit in SESSION_EDITS)],
    ids=lambda each: ".".join(map(str, each)) if isinstance(each, tuple) else "",
)
def test_what_cannot_be_is_refused_in_a_line_that_names_it(
    tmp_path: Path, record: Run | Session, keys: Keys, value: Any, line: str
) -> None:
    path = written(edited(record, keys, value), tmp_path)
    said = failure(lambda: LOADERS[type(record)](path))
    assert said.startswith(f"{path}: ")
    assert re.search(line, said), said


@pytest.mark.parametrize("record", [RUN, SESSION], ids=["run", "session"])
def test_what_was_not_edited_loads(tmp_path: Path, record: Run | Session) -> None:
    assert LOADERS[type(record)](written(content_of(record), tmp_path)) == record


# --- any edit ---------------------------------------------------------------------------------------

EDITS: Final = 300
VALUES: Final = (
    *(None, True, 0, -1, 1.5, 1e300, -1e300, 2**63, *TOKENS, "", "text", "a\nb", "\ud800", "\x00"),
    *([], {}, [[]], [None], {"name": "x"}, [1, "a"], [[1.0] * 3] * 2),
)


def spots(content: Any, rng: random.Random) -> Iterator[tuple[Any, Any]]:
    """A way down from the top to a leaf: each container on it, and the key that leads on."""
    while isinstance(content, dict | list) and content:
        key = rng.choice(list(content)) if isinstance(content, dict) else rng.randrange(len(content))
        yield content, key
        content = content[key]


def edit(content: Any, rng: random.Random) -> None:
    """Does one thing somewhere in ``content``."""
    part, key = rng.choice(list(spots(content, rng)))
    value = part[key]
    match rng.randrange(6):
        case 0:
            del part[key]
        case 1 if isinstance(value, list):
            value.extend(value[:1])
        case 2 if isinstance(value, list):
            value.reverse()
        case 3 if isinstance(value, dict):
            value["surprise\n"] = 1
        case 4 if isinstance(value, float | int):
            part[key] = -value
        case _:
            part[key] = copy.deepcopy(rng.choice(VALUES))


@pytest.mark.parametrize("record", [RUN, SESSION], ids=["run", "session"])
def test_whatever_is_edited_there_is_one_line_or_a_record_that_can_be_saved(
    tmp_path: Path, record: Run | Session
) -> None:
    rng, text, lines = random.Random(13), to_json(record), []
    load: Callable[[Path], Run | Session] = LOADERS[type(record)]
    for _ in range(EDITS):
        content = json.loads(text)
        for _ in range(rng.choice((1, 1, 2))):
            edit(content, rng)
        path = written(content, tmp_path)
        try:
            loaded = load(path)
        except UsageError as error:
            lines.append(str(error))
            continue
        path.write_bytes(to_json(loaded))
        assert load(path) == loaded
    assert 0 < len(lines) < EDITS
    assert [line for line in lines if len(line.splitlines()) != 1 or len(line) > 1_000] == []
