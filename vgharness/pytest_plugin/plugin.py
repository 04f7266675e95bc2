"""The pytest plugin: the fixture ``gradflow`` and the options ``--gradflow-*``.

    def test_gradients_flow(gradflow):
        sample = gradflow(make_model, (images, labels), torch.nn.functional.cross_entropy)
        sample.assert_flows(min_factor=0.1, max_factor=10)

Costs nothing until the fixture or an option is used: torch is imported then.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vgharness.errors import UsageError
from vgharness.pytest_plugin import hookspec as plugin_hooks

if TYPE_CHECKING:
    from vgharness.gradflow.sample import FlowSample
    from vgharness.pytest_plugin.session import GradflowSession
    from vgharness.records.session import Sample

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
        help="fail tests whose figure changed by more: signal_l2:20%%, signal_l2:-50%% (a decrease only), factor:0.1 "
        "(absolute); or `vanished`, `new`, `renamed`: where a test or a layer is not on both sides under one name",
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(plugin_hooks)


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
            problem = _problem(item, mark)
            if problem:
                raise pytest.UsageError(f"{item.nodeid}: mark gradflow: {problem}")


@pytest.fixture
def gradflow(request: pytest.FixtureRequest) -> Callable[..., FlowSample]:
    """``gradflow(model_factory, batch, loss, *, seeds=5, name=None, layers=None, quantities=None, extra_info=None,
    check=True)`` → :class:`vgharness.FlowSample`, as :func:`vgharness.gradflow.measurement.measure` gives it.

    A NaN, infinite, zero or missing gradient fails the test at once, unless ``check`` is false or the mark
    ``gradflow`` expects an illness; the mark's limits are held against each measurement as it is made.
    """
    samples: list[Sample] = []
    request.node.stash[_SAMPLES] = samples
    asked: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("gradflow"))):  # the closest last, so that it wins
        asked |= mark.kwargs

    def measured(
        model_factory: Any,
        batch: Any,
        loss: Any,
        *,
        seeds: Any = None,
        name: str | None = None,
        check: bool = True,
        **options: Any,
    ) -> FlowSample:
        __tracebackhide__ = True
        from vgharness.gradflow.measurement import measure

        name = name or ""
        if name in [sample.name for sample in samples]:
            raise UsageError(f"this test has a measurement called {name!r} already: give each its own name=")
        sample = measure(
            model_factory,
            batch,
            loss,
            seeds=asked.get("seeds", 5) if seeds is None else seeds,
            name=name,
            test=request.node.nodeid,
            saturation="expect" in asked,
            **options,
        )
        samples.append(sample.sample)
        if "expect" in asked:
            _expect(sample, asked["expect"])
        elif check or asked.keys() & {"min_factor", "max_factor"}:
            limits = {key: asked[key] for key in ("min_factor", "max_factor", "quantity") if key in asked}
            sample.assert_flows(**limits)
        return sample

    return measured


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


def _expect(sample: FlowSample, expected: str) -> None:
    __tracebackhide__ = True
    from vgharness.gradflow.diagnosis import diagnose, summary

    diagnosis = diagnose(sample.sample.flows)
    found = diagnosis.findings[0].illness if diagnosis.findings else "healthy"
    if found != expected:
        raise AssertionError(f"{sample.sample.label}: expected {expected}, found {summary(diagnosis)}")


def _problem(item: pytest.Item, mark: pytest.Mark) -> str | None:
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
        from vgharness.gradflow.diagnosis import ILLNESSES

        known = ("healthy", *reversed(ILLNESSES))
        if mark.kwargs["expect"] not in known:
            return f"expect={mark.kwargs['expect']!r}: use {', '.join(known)}"
    return None
