"""What the tests of the plugin share."""

import pytest
from user_project import FLOWS, PROJECT


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_model=PROJECT + FLOWS)
    return pytester
