"""What the tests of the plugin share."""

import pytest

# Pytester forgets what is first imported inside one of its sessions, and torch cannot be imported twice. This part of
# it is imported where the origin of a NaN is looked for.
import torch._dynamo  # noqa: F401
from user_project import FLOWS, PROJECT


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_model=PROJECT + FLOWS)
    return pytester
