"""The page's sections on numerical error and on theory."""

import pytest
from factories import make_result, make_run

from vgharness.records import LayerError, LayerPrediction
from vgharness.report.study_page import render

pytestmark = pytest.mark.fast


def test_the_page_shows_numerical_errors() -> None:
    errors = tuple(
        LayerError(name=name, weight_mean_abs=0.0042, weight_l2=0.0042, signal_l2=0.0042, signal_rms=0.0042)
        for name in ("conv1", "conv2", "conv3", "conv4", "fc")
    )
    html = render(make_run([make_result(curve=[10.0], numerics=errors)]), ())
    section = html[html.index('id="numerics"') : html.index('id="how"')]
    assert section.count("0.42 %") == 10
    assert 'id="numerics"' not in render(make_run([make_result(curve=[10.0])]), ())


def test_the_page_shows_predictions_as_geometric_means_over_the_seeds() -> None:
    def one(measured: float) -> tuple[LayerPrediction, ...]:
        return (
            LayerPrediction(
                name="conv1", above="conv2", measured=measured, predicted=None, bound=0.75, twin_measured=0.2,
                twin_predicted=0.25,
            ),
        )  # fmt: skip

    run = make_run([make_result(seed=seed, curve=[10.0], predictions=one(x)) for seed, x in ((42, 0.4), (43, 0.6))])
    html = render(run, ())
    section = html[html.index('id="theory"') : html.index("</section>", html.index('id="theory"'))]
    assert [x in section for x in ("0.490", "0.750", "0.200", "0.250", "(max-pool)", "conv2 → conv1")] == [True] * 6
