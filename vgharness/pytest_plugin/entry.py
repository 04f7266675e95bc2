"""What pytest loads in every session of an environment that has vgharness: the plugin, where this pytest can run it.

An older pytest cannot, and a session that has nothing to do with gradients must not break for that: there only a test
that asks for the fixture fails, with one line.
"""

from __future__ import annotations

from typing import Any

import pytest

OLDEST = (8, 2)

if tuple(int(part) for part in pytest.__version__.split(".")[:2]) >= OLDEST:
    pytest_plugins = ["vgharness.pytest_plugin.plugin"]
else:

    def pytest_configure(config: Any) -> None:
        config.addinivalue_line("markers", "gradflow: vgharness, which this pytest is too old for")

    @pytest.fixture
    def gradflow() -> None:
        """Needs a newer pytest."""
        oldest = ".".join(map(str, OLDEST))
        pytest.fail(
            f"vgharness needs pytest {oldest} or newer, this is {pytest.__version__}: pip install 'pytest>={oldest}'",
            pytrace=False,
        )
