"""One browser for all tests here, and the pages, each written once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import pytest
from opened_page import RULES, Opened
from pages import PAGES, Written

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        pytest.fail('no Playwright: python -m pip install -e ".[browser]"', pytrace=False)
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("no chromium on this machine: apt-get install chromium", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Written]:
    """Gives a page by its name, written when it is first asked for."""
    folder = tmp_path_factory.mktemp("pages")
    known: dict[str, Written] = {}

    def page(name: str) -> Written:
        if name not in known:
            known[name] = PAGES[name](folder / name)
        return known[name]

    return page


@pytest.fixture
def opened(browser: Browser, written: Callable[[str], Written]) -> Iterator[Callable[..., Opened]]:
    """Opens a page from disk: its name, and width, scheme of colours and medium."""
    contexts = []

    def open_it(
        name: str, width: int = 1280, scheme: str = "light", height: int = 900, media: str = "screen"
    ) -> Opened:
        source = written(name)
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.emulate_media(media=media, color_scheme=scheme)
        page.goto(source.path.as_uri())
        page.evaluate(RULES)
        itself = source.path.as_uri()
        return Opened(name, page, source, said, [each for each in asked if each != itself])

    yield open_it
    for context in contexts:
        context.close()
