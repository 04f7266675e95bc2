"""The pytest plugin: the fixture ``gradflow``, the mark of that name and the options ``--gradflow-*``.

    def test_gradients_flow(gradflow):
        gradflow(make_model, (images, labels), torch.nn.functional.cross_entropy)

Costs nothing until the fixture or an option is used: torch is imported then. Whatever is wrong with one test fails that
test, never the session.
"""

from __future__ import annotations

import html
from collections.abc import Generator
from copy import copy
from functools import partial
from typing import TYPE_CHECKING

import pytest

from vgharness.errors import UsageError
from vgharness.formatting import in_one_line, listing
from vgharness.pytest_plugin import hookspec
from vgharness.pytest_plugin.fixture import GradFlow, GradFlowWarning, is_ours
from vgharness.pytest_plugin.marks import LIMITS, SIGNATURE, compare_limits, marked, mistake_in
from vgharness.pytest_plugin.options import SEEDS, add_options, settle, with_values_apart
from vgharness.pytest_plugin.selection import test_id

if TYPE_CHECKING:
    from vgharness.pytest_plugin.session import GradflowSession
    from vgharness.records import Sample

_SESSION: pytest.StashKey[GradflowSession] = pytest.StashKey()
_SAMPLES: pytest.StashKey[list[Sample]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspec)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    apart = with_values_apart(args)
    if apart != args:
        args[:] = apart
        early_config.known_args_namespace = parser.parse_known_args(args, namespace=copy(early_config.option))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", SIGNATURE)
    from vgharness.pytest_plugin.session import GradflowSession

    try:
        settle(config)
        if _only_lists(config):
            return
        session = GradflowSession(config)
    except UsageError as error:
        raise pytest.UsageError(f"gradflow: {error}") from None
    config.stash[_SESSION] = session
    config.pluginmanager.register(session, "gradflow-session")
    config.pluginmanager.register(session.selection, "gradflow-selection")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not (config.option.gradflow_skip or config.option.gradflow_only):
        return
    wanted = bool(config.option.gradflow_only)
    kept = [item for item in items if _measures(item) == wanted]
    left_out = [item for item in items if _measures(item) != wanted]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.fixture
def gradflow(request: pytest.FixtureRequest) -> GradFlow:
    """Measures and judges a model's gradients: ``gradflow(model_factory, batch, loss)`` →
    :class:`vgharness.FlowSample`; fails the test where they have a problem.

    See :class:`vgharness.GradFlow` for all that it takes.
    """
    item, config = request.node, request.config
    if config.option.gradflow_skip:  # of a test that asked for it as it ran
        pytest.skip("--gradflow-skip")
    mistake = mistake_in(item)
    if mistake:
        pytest.fail(mistake, pytrace=False)
    values = marked(item)
    samples: list[Sample] = []
    item.stash[_SAMPLES] = samples
    item.user_properties[:] = [each for each in item.user_properties if not is_ours(each)]  # of a run before a rerun
    session = config.stash.get(_SESSION, None)
    return GradFlow(
        test_id(item),
        samples,
        values,
        config.stash[SEEDS],
        disabled=config.option.gradflow_disable,
        properties=item.user_properties,
        more=partial(session.compared.further_seeds, compare_limits(values)) if session else None,
    )


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Comes after a test that passed: says where it guards nothing."""
    failed = getattr(item, "_excinfo", None)  # of unittest's, which come here too
    if item.stash.get(_SAMPLES, None) or failed:
        return
    values = marked(item)
    limits = [f"{key}={values[key]!r}" for key in (*LIMITS, "expect", "compare_fail") if key in values]
    unheld = f", so that its mark's {listing(limits)} was held against nothing" if limits else ""
    if _SAMPLES in item.stash:
        item.warn(GradFlowWarning(f"the test asks for the fixture gradflow and never calls it{unheld}"))
    elif any(mark.name == "gradflow" for mark in item.own_markers):
        item.warn(GradFlowWarning("the mark gradflow has no effect: the test does not use the fixture gradflow"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    report.gradflow_test = test_id(item)  # type: ignore[attr-defined]
    samples = item.stash.get(_SAMPLES, [])
    if report.when == "call" and samples:
        try:
            # As text, for it may travel from a worker of pytest-xdist.
            report.gradflow = [sample.model_dump_json() for sample in samples]  # type: ignore[attr-defined]
            compared = item.config.stash[_SESSION].compared
            regressions = compared.regressions(test_id(item), samples, compare_limits(marked(item)))
        except Exception as error:  # of one test: the others run on
            regressions = [f"gradflow: {in_one_line(error)}"]
        if regressions and report.passed:
            # The test's own failure: raised by the saved run it is compared with.
            report.outcome, report.longrepr = "failed", "\n".join(regressions)
            report.gradflow_is_red = True  # type: ignore[attr-defined]
        elif regressions:
            report.sections.append(("gradient flow against the compared run", "\n".join(regressions)))
        if item.config.pluginmanager.hasplugin("html"):  # pytest-html, which shows no properties
            report.extras = [*getattr(report, "extras", ()), _html_extra(item)]  # type: ignore[attr-defined]
    return report


def _html_extra(item: pytest.Item) -> dict[str, str | None]:
    """The test's gradients for its row of pytest-html's page."""
    found = ", ".join(f"{name} {value}" for name, value in filter(is_ours, item.user_properties))
    content = f"<p>{html.escape(found)}</p>"
    return {"name": None, "format_type": "html", "content": content, "mime_type": None, "extension": None}


def _only_lists(config: pytest.Config) -> bool:
    """Whether no test will run, so that there is nothing to say of gradients."""
    option = config.option
    return bool(option.collectonly or option.showfixtures or option.show_fixtures_per_test)


def _measures(item: pytest.Item) -> bool:
    """Whether a test uses the fixture, as far as that is known before it runs."""
    return "gradflow" in getattr(item, "fixturenames", ()) or any(m.name == "gradflow" for m in item.own_markers)
