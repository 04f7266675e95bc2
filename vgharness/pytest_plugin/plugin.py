"""The pytest plugin: the fixture ``gradflow`` and the options ``--gradflow-*``.

    def test_gradients_flow(gradflow):
        sample = gradflow(make_model, (images, labels), torch.nn.functional.cross_entropy)
        sample.assert_flows(min_factor=0.1, max_factor=10)

Costs nothing until the fixture or an option is used: torch is imported then.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vgharness.errors import UsageError
from vgharness.formatting import escaped
from vgharness.pytest_plugin import hookspec
from vgharness.pytest_plugin.fixture import GradFlow, marked

if TYPE_CHECKING:
    from vgharness.pytest_plugin.session import GradflowSession
    from vgharness.records import Sample

_SESSION: pytest.StashKey[GradflowSession] = pytest.StashKey()
_SAMPLES: pytest.StashKey[list[Sample]] = pytest.StashKey()
_MARK: Mapping[str, tuple[type, ...]] = {
    "seeds": (int, list, tuple),
    "min_factor": (int, float),
    "max_factor": (int, float),
    "quantity": (str,),
    "expect": (str,),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    add = parser.getgroup("gradflow", "gradient flow (vgharness)").addoption
    add("--gradflow-save", metavar="NAME", help="save this session's gradient flows under NAME")
    add("--gradflow-autosave", action="store_true", help="save them under the time and the commit")
    add("--gradflow-json", metavar="PATH", type=Path, help="write them to this file too, to keep as a baseline")
    add(
        "--gradflow-storage",
        metavar="DIR",
        type=Path,
        default=Path(".gradflow"),
        help="where runs are saved: .gradflow",
    )
    add(
        "--gradflow-compare",
        metavar="NUM|NAME|PATH",
        nargs="?",
        const="",
        help="compare with a saved run, by default the latest",
    )
    add(
        "--gradflow-compare-fail",
        metavar="QUANTITY:CHANGE",
        action="append",
        default=[],
        help="fail tests with a value that changed by more: signal_l2:20%%, signal_l2:-50%% (a decrease only), "
        "factor:0.1 (absolute); or `vanished`, `new`, `renamed`: where a test or a layer is not on both sides under "
        "one name",
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspec)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "gradflow(seeds=5, min_factor=None, max_factor=None, quantity='signal_l2', expect=None): "
        "what each measurement of the fixture gradflow must keep to",
    )
    from vgharness.pytest_plugin.session import GradflowSession

    try:
        session = GradflowSession(config)
    except UsageError as error:
        raise pytest.UsageError(f"gradflow: {error}") from None
    config.stash[_SESSION] = session
    config.pluginmanager.register(session, "gradflow-session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("gradflow"):
            mistake = _mistake_in(item, mark)
            if mistake:
                raise pytest.UsageError(f"{escaped(item.nodeid)}: mark gradflow: {mistake}")


@pytest.fixture
def gradflow(request: pytest.FixtureRequest) -> GradFlow:
    """Measures a model's gradients: ``gradflow(model_factory, batch, loss)`` → :class:`vgharness.FlowSample`.

    See :class:`vgharness.GradFlow` for all that it takes.
    """
    samples: list[Sample] = []
    request.node.stash[_SAMPLES] = samples
    return GradFlow(request.node.nodeid, samples, marked(request.node))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    samples = item.stash.get(_SAMPLES, [])
    if report.when == "call" and samples:
        # As text, for it may travel from a worker of pytest-xdist.
        report.gradflow = [sample.model_dump_json() for sample in samples]  # type: ignore[attr-defined]
        regressions = item.config.stash[_SESSION].regressions(samples)
        if regressions and report.passed:
            # The test's own failure: raised by the saved run it is compared with.
            report.outcome, report.longrepr = "failed", "\n".join(regressions)
        elif regressions:
            report.sections.append(("gradient flow against the compared run", "\n".join(regressions)))
    return report


def _mistake_in(item: pytest.Item, mark: pytest.Mark) -> str | None:
    if "gradflow" not in getattr(item, "fixturenames", ()):
        return "it has no effect, for the test does not use the fixture gradflow"
    if mark.args:
        return f"give its values by name: {', '.join(_MARK)}"
    for key, value in mark.kwargs.items():
        if key not in _MARK:
            return f"unknown keyword {key!r}, use {', '.join(_MARK)}"
        if not isinstance(value, _MARK[key]) or isinstance(value, bool):
            return f"{key}={value!r}: give {' or '.join(kind.__name__ for kind in _MARK[key])}"
    if "expect" in mark.kwargs:
        from vgharness.gradflow.diagnosis import PROBLEM_KINDS

        known = ("healthy", *reversed(PROBLEM_KINDS))
        if mark.kwargs["expect"] not in known:
            return f"expect={mark.kwargs['expect']!r}: use {', '.join(known)}"
    return None
