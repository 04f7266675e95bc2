"""Files of earlier versions of the formats, as they were written then, load."""

import json
from pathlib import Path
from typing import Any

import pytest
from factories import failure

from vgharness.records import Run
from vgharness.storage.store import load_run, load_session

pytestmark = pytest.mark.fast

RUN_JSON = Path(__file__).parents[2] / "reports" / "committed" / "run.json"

MACHINE = """{"id": "Linux-x86_64-py3.11-cpu", "system": "Linux", "processor": "a processor", "cores": 2, "threads": 2,
  "device": "cpu", "python": "3.11.0", "versions": {"torch": "2.11.0"}, "cuda": null, "cudnn": null, "driver": null}"""
CELL = """{"architecture": "script", "activation": "sigmoid", "seed": 42, "epochs": 1, "depth": 4, "norm": null,
  "init": "default", "optimizer": "adam", "schedule": "constant", "learning_rate": 0.001, "batch_size": 128}"""
FLOW_1 = """{"layers": [{"nonfinite": ["signal_rms"], "name": "conv1", "call": 0, "backward": 0, "aliases": [],
  "state": "ok", "weight_mean_abs": 1e-6, "weight_l2": 2e-6, "signal_l2": 3e-6, "signal_rms": null,
  "relative_update": null, "saturated": null}], "missed": [], "training": true}"""
FLOW_2 = FLOW_1.replace('"call"', '"forward_pass"').replace('"backward"', '"backward_pass"')
ERROR = """{"nonfinite": ["signal_rms"], "name": "conv1", "weight_mean_abs": 0.001, "weight_l2": 0.002,
  "signal_l2": 0.003, "signal_rms": null}"""
VERDICT_2 = """{"claim": "sigmoid-epoch-1", "architecture": "script", "sentence": "~45%", "outcome": "not reproduced",
  "reason": "", "readings": [{"nonfinite": [], "label": "sigmoid, test accuracy after epoch 1", "measure": "accuracy",
  "expected": "42 to 48", "unit": "%", "outcome": "not reproduced", "reason": "",
  "values": [{"nonfinite": [], "seed": 42, "value": 10.0, "at_least": false}], "value": 10.0, "low": null,
  "high": null, "method": "bootstrap", "numerical_error": null, "seeds_needed": 3}]}"""
VERDICT_1 = VERDICT_2.replace('"value": 10.0, "low"', '"mean": 10.0, "low"')


def a_run(version: int, flow: str, numerics: str, verdict: str) -> str:
    return f"""{{"schema_version": {version}, "created": "2026-01-01T00:00:00+00:00", "status": "finished",
  "command": "python -m vgharness.full", "commit": null, "machine": {MACHINE},
  "data": {{"kind": "folder", "description": "a folder", "cifar10": "re-encoded", "sha256": "0", "classes": ["a", "b"],
    "train_images": 50000, "test_images": 10000}},
  "study": {{"preset": "script", "cells": [{CELL}], "precision": "fp32", "train_images": null, "test_images": null}},
  "results": [{{"cell": {CELL}, "status": "finished", "reason": "", "parameters": 261322,
    "layers": [{{"name": "conv1", "kind": "Conv2d", "shape": [32, 32, 32]}}], "initial_weights_sha256": "0",
    "initial": {flow}, "numerics": {numerics}, "predictions": [], "epochs": [{{"nonfinite": [], "epoch": 1,
      "train_loss": 2.3, "train_accuracy": 10.0, "test_loss": 2.3, "test_accuracy": 10.0, "seconds": 1.5,
      "flow": {flow}}}], "heatmap": null, "seconds": 2.5}}],
  "verdicts": [{verdict}], "seconds": 3.5}}"""


def loaded(folder: Path, text: str) -> Run:
    path = folder / "old.json"
    path.write_text(text, encoding="utf-8")
    return load_run(path)


@pytest.mark.parametrize(("version", "flow", "verdict"), [(1, FLOW_1, VERDICT_1), (2, FLOW_2, VERDICT_2)])
def test_an_old_run_loads_with_its_errors_at_initialisation_and_is_to_be_judged_anew(
    tmp_path: Path, version: int, flow: str, verdict: str
) -> None:
    run = loaded(tmp_path, a_run(version, flow, f"[{ERROR}]", verdict))
    (result,) = run.results
    assert (run.schema_version, run.verdicts, run.document) == (3, (), None)
    assert result.initial is not None
    for layer in (result.initial.layers[0], result.epochs[0].flow.layers[0]):
        assert (layer.forward_pass, layer.backward_pass, layer.signal_l2) == (0, 0, 3e-6)
        assert layer.nonfinite == ("signal_rms",)
    ((epoch, (error,)),) = [(moment.epoch, moment.layers) for moment in result.numerics]
    assert epoch == 0
    assert json.loads(error.model_dump_json()) == json.loads(ERROR)
    assert (result.epochs[0].test_accuracy, result.seconds, run.seconds) == (10.0, 2.5, 3.5)


def test_an_old_run_whose_errors_were_not_measured_has_no_moment(tmp_path: Path) -> None:
    assert loaded(tmp_path, a_run(2, FLOW_2, "[]", VERDICT_2)).results[0].numerics == ()


def test_the_committed_run_loads() -> None:
    run = load_run(RUN_JSON)
    stored = json.loads(RUN_JSON.read_bytes())
    assert len(run.results) == len(stored["results"]) > 0
    for result, old in zip(run.results, stored["results"], strict=True):
        assert [epoch.test_accuracy for epoch in result.epochs] == [epoch["test_accuracy"] for epoch in old["epochs"]]
        assert [layer.name for layer in result.numerics[0].layers] == ["conv1", "conv2", "conv3", "conv4", "fc"]


SESSION_1 = f"""{{"schema_version": 1, "kind": "session", "created": "2026-01-01T00:00:00+00:00", "command": "pytest",
  "commit": null, "machine": {MACHINE}, "samples": [{{"test": "t", "name": "", "seeds": [42], "flows": [{FLOW_1}],
  "custom": {{}}, "extra_info": {{}}}}], "extra": {{}}}}"""


def test_an_old_session_loads(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(SESSION_1, encoding="utf-8")
    session = load_session(path)
    (layer,) = session.samples[0].flows[0].layers
    assert (session.schema_version, layer.forward_pass, layer.backward_pass) == (3, 0, 0)
    assert layer.signal_l2 == 3e-6


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("field", "value"),
    [("results", 3), ("results", None), ("results", [3]), ("results", ["text"]), ("numerics", 5), ("numerics", ["x"]),
     ("initial", "x"), ("epochs", [None])],
)  # fmt: skip
def test_an_old_file_that_is_not_as_its_version_has_it_is_refused_in_one_line(
    tmp_path: Path, version: int, field: str, value: Any
) -> None:
    content = json.loads(a_run(version, FLOW_1 if version == 1 else FLOW_2, f"[{ERROR}]", VERDICT_2))
    (content if field == "results" else content["results"][0])[field] = value
    assert "old.json: not a valid run: " in failure(lambda: loaded(tmp_path, json.dumps(content)))
