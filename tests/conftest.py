"""What every test shares."""

import gc
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Property tests are part of CI: the same examples everywhere, and as many as fit in a minute.
settings.register_profile("vgharness", deadline=None, derandomize=True, max_examples=30)
settings.register_profile("deep", deadline=None, max_examples=3_000, suppress_health_check=list(HealthCheck))
settings.load_profile("vgharness")

# What pytest and rich print depends on these: a test that reads it must find the same on a desk and in a CI.
for name in ("CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PY_COLORS"):
    os.environ.pop(name, None)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at its options
def pytest_cmdline_main(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # one of those processes itself
        return
    everything = config.args_source == pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    if everything and config.option.markexpr == "fast" and config.getoption("numprocesses", 0) is None:
        config.option.numprocesses = min(os.cpu_count() or 1, 8)  # as `-n`: a process for each core
        config.option.dist = "worksteal"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Each test begins with the same random numbers, in whatever order and process it runs; torch is not imported for
    that, as some tests need it not to be."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


def pytest_configure(config: pytest.Config) -> None:
    # Before anything imports torch. The fast tests' networks are too small for two threads, which only
    # wait for each other, and for minutes where the machine is busy; `-m full` trains real ones.
    if config.getoption("-m") == "deep":
        settings.load_profile("deep")
    if config.getoption("-m") not in ("full", "deep"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _nothing_is_watched_any_more() -> Iterator[None]:
    """A watch that is open hooks into the whole process, so into what the tests after it measure."""
    yield
    hooks = sys.modules.get("vgharness.probe.hooks")
    if hooks is not None and (hooks._handles or hooks._step_handles):
        gc.collect()  # of models that are gone the hooks go with the next change
        hooks.unsubscribe(object())
        assert not [*hooks._handles, *hooks._step_handles], "a probe or a watch was left open: close it"
