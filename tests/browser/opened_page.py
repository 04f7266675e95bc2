"""A page in the browser: what rules find on it, and a picture of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pages import Written

if TYPE_CHECKING:
    from playwright.sync_api import Page

RULES: Final = (Path(__file__).parent / "rules.js").read_text(encoding="utf-8")
# Where it names a folder, what the browser shows of each page is left there as pictures, for people to look at.
SCREENSHOTS: Final = "VGHARNESS_SCREENSHOTS"
TALLEST_PICTURE: Final = 16_000  # pixels; Chromium repeats what lies below


class Opened(NamedTuple):
    """A page in the browser.

    said: its messages in the console, its errors and its dialogs.
    asked: addresses of what it asked for, itself apart.
    """

    name: str
    page: Page
    written: Written
    said: list[str]
    asked: list[str]

    def rule(self, call: str, *arguments: object) -> Any:
        """What a function of ``rules.js`` finds on the page."""
        return self.page.evaluate(f"given => rules.{call}(...given)", list(arguments))

    def wear(self, scheme: str) -> None:
        """Changes the scheme of colours."""
        self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]

    def picture(self, what: str) -> None:
        """Leaves a picture where the environment asks for them."""
        if folder := os.environ.get(SCREENSHOTS):
            Path(folder).mkdir(parents=True, exist_ok=True)
            width = self.page.evaluate("innerWidth")
            clip = {"x": 0, "y": 0, "width": width, "height": min(self.rule("height"), TALLEST_PICTURE)}
            self.page.screenshot(path=Path(folder) / f"{self.name}-{width}-{what}.png", full_page=True, clip=clip)
