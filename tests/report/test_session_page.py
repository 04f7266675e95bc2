"""The page of a session."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vgharness.cli.main import app
from vgharness.gradflow.measurement import measure
from vgharness.gradflow.session import as_session
from vgharness.records import Session
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
