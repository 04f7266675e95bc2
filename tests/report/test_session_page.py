"""The page of a session."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vgharness.cli.main import app
from vgharness.gradflow.measurement import measure
from vgharness.gradflow.session import as_session
from vgharness.records import GradientFlow, LayerGradient, LayerKey, ParameterGradient, Sample, Session, TimePath
from vgharness.report.session_page import render_session

pytestmark = pytest.mark.fast


def session(test: str = "tests/test_it.py::test_it", **options: object) -> Session:
    import torch
    from torch import nn

    sample = measure(
        lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
        (torch.ones(2, 4), torch.tensor([0, 1])),
        nn.functional.cross_entropy,
        test=test,
        **options,  # type: ignore[arg-type]
    ).record
    return as_session([sample], command="pytest -q", folder=Path.cwd(), extra={})


def test_what_came_from_outside_is_escaped() -> None:
    text = render_session(session("<script>alert(1)</script>", extra_info={"note": "<b>"}))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;b&gt;" in text


def test_each_layer_has_its_row_and_saturation_its_column_where_it_was_measured() -> None:
    plain, saturated = render_session(session(seeds=1)), render_session(session(seeds=1, saturation=True))
    assert plain.count('<td data-label="Layer">') == 2
    assert "Saturated" not in plain
    assert "Saturated" in saturated


def test_the_page_of_a_saved_session_stands_beside_a_studys(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(session().model_dump_json())
    result = CliRunner().invoke(app, ["report", str(tmp_path / "run.json"), "--out", str(tmp_path / "reports")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "reports/gradflow.html").exists()
    assert not (tmp_path / "reports/index.html").exists()


def of_records() -> Session:
    """Two branches, one of them recurrent."""
    feeds = {"stem": ("a", "rnn"), "a": ("head",), "rnn": ("head",), "head": ()}
    layers = tuple(
        LayerGradient(
            name=name,
            state="ok",
            signal_l2=1.0,
            weight_l2=0.25,
            feeds=tuple(map(LayerKey, to)),
            parameters=(ParameterGradient(name=f"{name}.weight", l2=0.125),),
            output_rms=7.0 if name == "a" else None,
            output_zeros=0.5 if name == "a" else None,
        )
        for name, to in feeds.items()
    )
    path = TimePath(layer="rnn", part="layer 0", signals=(0.75,) * 9, direct=1.0)
    flow = GradientFlow(layers=layers, through_time=(path,))
    return as_session([Sample(test="t", seeds=(1,), flows=(flow,))], command="c", folder=Path.cwd(), extra={})


def row_of(text: str, label: str) -> list[str]:
    row = next(row for row in re.findall(r"<tr.*?</tr>", text, re.DOTALL) if f"{label}<" in row)
    return [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]


def test_branches_steps_and_the_outputs_scale_have_their_place() -> None:
    text = render_session(of_records())
    assert row_of(text, "<code>a</code>") == ["a→ head", "ok", "1", "→ 1", "0.250", "7", "50 %"]
    assert row_of(text, "<code>rnn</code>")[0].replace("\n", "") == "from stem:rnn"
    assert row_of(text, "steps 2 to 8")[:4] == ["steps 2 to 8", "ok", "0.750", "1"]
    assert row_of(text, "<code>stem</code>")[5:] == ["–", "–"]
    assert "a branch begins" in text


def test_parameters_have_a_row_on_request_with_the_weights_gradients() -> None:
    assert ".weight<" not in render_session(of_records())
    text = render_session(of_records(), parameters=True)
    assert row_of(text, "<code>.weight</code>")[:5] == [".weight", "ok", "", "", "0.125"]
    assert text.count("<code>.weight</code>") == 4
