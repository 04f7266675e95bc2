"""What the tests of unseen models share."""

import sys
import types

import pytest


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module to put callables into, which --input and --loss can name."""
    module = types.ModuleType("mine_of_this_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module
