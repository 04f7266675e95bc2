"""What a type checker makes of a user's test: mypy takes a quarter of a minute to read torch."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.types

USERS_TEST = """
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import vgharness
from vgharness import FlowSample, GradFlow, GradFlowWarning, GradientProbe, theory

assert issubclass(GradFlowWarning, pytest.PytestWarning)


def model() -> nn.Module:
    return nn.Linear(4, 2)


def test_flows(gradflow: GradFlow) -> None:
    batch = torch.ones(3, 4), torch.zeros(3, dtype=torch.long)
    sample: FlowSample = gradflow(model, batch, nn.functional.cross_entropy, seeds=3, name="mine")
    sample.assert_flows(min_factor=0.1, max_total=1e3)
    gradflow(model, {"input": batch[0], "label": batch[1]}, name="own loss", check=False).assert_problem("dead")
    gradflow(model, DataLoader(TensorDataset(*batch)), lambda model, batch: model(batch[0]).sum(), name="loader")
    gradflow(model, batch[0], lambda output: output.sum(), name="no targets", seeds=[1, 2]).assert_factors(min_total=0)
    assert sample.diagnosis.healthy
    assert sample.flows[0].factor() > 0
    vgharness.diagnose(sample.flows).problems
    theory.chi("relu", weight_variance=2.0, bias_variance=0.0, depth=3, q0=1.0)
    with GradientProbe(model()) as probe:
        probe.flow()
"""
MISTAKES = """

def test_mistakes(gradflow: GradFlow) -> None:
    sample = gradflow(model, (1, 2), nn.functional.cross_entropy, seed=3)
    sample.assert_flow(min_factor=0.1)
    sample.assert_flows(least_factor=0.1)
    sample.flows[0].factr()
    vgharness.diagnoze(sample.flows)
"""


def test_a_misspelt_method_of_a_sample_is_an_error_to_mypy(tmp_path: Path) -> None:
    (tmp_path / "test_model.py").write_text(USERS_TEST + MISTAKES, encoding="utf-8")
    from mypy import api

    text, _, status = api.run(
        ["--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", str(tmp_path / "test_model.py")]
    )
    assert status == 1
    errors = [line.partition("error: ")[2] for line in text.splitlines() if "error: " in line]
    assert len(errors) == 5, text
    for words, error in zip(("seed", "assert_flow", "least_factor", "factr", "diagnoze"), errors, strict=True):
        assert words in error
