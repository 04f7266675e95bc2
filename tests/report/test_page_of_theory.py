"""The page's sections on numerical error and on theory."""

import re

import pytest
from factories import make_errors, make_result, make_run

from vgharness.records import LayerPrediction
from vgharness.report.study_page import render

pytestmark = pytest.mark.fast


def test_the_page_shows_numerical_errors_by_moment_the_worst_of_the_seeds() -> None:
    results = [
        make_result(curve=[10.0], seed=42, numerics=(make_errors(0, 0.0042), make_errors(1, 0.25))),
        make_result(curve=[10.0], seed=43, numerics=(make_errors(0, 0.0031), make_errors(1, 0.33))),
        make_result("tanh", numerics=(make_errors(0, None),)),
    ]
    html = render(make_run(results))
    section = html[html.index('id="numerics"') : html.index('id="networks"')]
    headings = [f"{of} {when}" for of in ("∂L/∂W", "∂L/∂h") for when in ("at initialisation", "after epoch 1")]
    assert [heading for heading in headings if f'<th scope="col">{heading}</th>' not in section] == []
    rows = re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)[1:]
    cells = [re.findall(r">([^<>]+)</t[hd]>", row) for row in rows]
    assert cells == [
        ["sigmoid (script)", "0.42 % (conv1)", "33 % (conv1)", "0.42 % (conv1)", "33 % (conv1)"],
        ["tanh (script)", "not finite (conv1)", "–", "not finite (conv1)", "–"],
    ]
    assert "gradients are at most 33 % from float64’s, and 10 were not finite" in section
    assert 'id="numerics"' not in render(make_run([make_result(curve=[10.0])]))


def test_the_page_shows_predictions_as_geometric_means_over_the_seeds() -> None:
    def one(measured: float) -> tuple[LayerPrediction, ...]:
        return (
            LayerPrediction(
                name="conv1", above="conv2", measured=measured, predicted=None, bound=0.75, twin_measured=0.2,
                twin_predicted=0.25,
            ),
        )  # fmt: skip

    run = make_run([make_result(seed=seed, curve=[10.0], predictions=one(x)) for seed, x in ((42, 0.4), (43, 0.6))])
    html = render(run)
    section = html[html.index('id="theory"') : html.index("</section>", html.index('id="theory"'))]
    assert [x in section for x in ("0.490", "0.750", "0.200", "0.250", "(max-pool)", "conv2 → conv1")] == [True] * 6
