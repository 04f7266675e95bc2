"""What the tests of the plugin share."""

import pytest

# Pytester forgets what is first imported inside one of its sessions, and torch cannot be imported twice. Of torch, this
# part is imported where the origin of a NaN is looked for; what we import late costs each session half a second.
import torch._dynamo  # noqa: F401
from user_project import FLOWS, PROJECT

from vgharness.gradflow import comparison, measurement, more_seeds, session  # noqa: F401
from vgharness.pytest_plugin import summary  # noqa: F401
from vgharness.report import session_page, tables  # noqa: F401
from vgharness.storage import baseline  # noqa: F401


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_model=PROJECT + FLOWS)
    return pytester
