"""How tall, heavy and slow pages may be."""

from collections.abc import Callable

import pytest
from opened_page import Opened

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("name", "width", "most"),
    [
        ("committed", 1280, 4_000),
        ("committed", 400, 7_000),
        ("large", 1280, 12_000),
    ],
)
def test_height_all_folded(opened: Callable[..., Opened], name: str, width: int, most: int) -> None:
    assert opened(name, width).rule("height") <= most


@pytest.mark.parametrize(
    ("name", "most_bytes", "most_seconds"),
    [("committed", 300_000, 5), ("full", 1_000_000, 5), ("large", 3_000_000, 20)],
)
def test_weight_and_time(opened: Callable[..., Opened], name: str, most_bytes: int, most_seconds: int) -> None:
    written = opened(name).written
    assert written.path.stat().st_size < most_bytes
    assert written.seconds < most_seconds


def test_elements_of_the_committed_page(opened: Callable[..., Opened]) -> None:
    assert opened("committed").rule("elements") < 2_600
