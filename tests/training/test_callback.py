"""Events reach whoever is to hear of them."""

import inspect
from typing import Any

import pytest

from vgharness.training.callback import Callback, Callbacks
from vgharness.training.executor import _Notifier
from vgharness.training.keeping import Keeper

pytestmark = pytest.mark.fast

EVENTS = [name for name, _ in inspect.getmembers(Callback, inspect.isfunction) if not name.startswith("_")]


class Log(Callback):
    def __init__(self, name: str, seen: list[tuple[Any, ...]]) -> None:
        self.name, self.seen = name, seen

    def __getattribute__(self, name: str) -> Any:
        if name not in EVENTS:
            return super().__getattribute__(name)
        return lambda *arguments: self.seen.append((self.name, name, *arguments))


def arguments_of(event: str) -> list[str]:
    return list(inspect.signature(getattr(Callback, event)).parameters)[1:]


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_is_passed_on_to_all_in_their_order(event: str) -> None:
    seen: list[tuple[Any, ...]] = []
    getattr(Callbacks(Log("first", seen), Log("second", seen)), event)(*arguments_of(event))
    assert seen == [(name, event, *arguments_of(event)) for name in ("first", "second")]


@pytest.mark.parametrize(
    "event", [each for each in EVENTS if not each.startswith("study_")]
)  # those come before threads
def test_every_event_of_a_training_is_passed_on_from_its_thread(event: str) -> None:
    seen: list[tuple[Any, ...]] = []
    getattr(_Notifier(Log("one", seen), Keeper()), event)(*arguments_of(event))
    assert seen == [("one", event, *arguments_of(event))]
