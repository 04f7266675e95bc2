"""Links: each leads somewhere, shows it, and has its way back."""

from collections.abc import Callable, Iterable
from urllib.parse import unquote

import pytest
from opened_page import Opened
from pages import PAGES, STUDIES

from vgharness.records import Run
from vgharness.report.claim_rows import anchor_of

pytestmark = pytest.mark.browser

MOST_FOLLOWED = 200  # links of one page; of one with more, as many throughout it
HTTP = ("http://", "https://")


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere_and_has_its_way_back(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    ids = page.rule("ids")
    assert len(ids) == len(set(ids))
    links = [link for link in page.rule("links") if link["href"].startswith("#")]
    assert links
    hrefs = sorted({link["href"] for link in links})
    targets = page.rule("follow", hrefs[:: 1 + len(hrefs) // MOST_FOLLOWED])
    assert [href for href, target in targets.items() if not target] == []
    ways = {(place, link["href"]) for link in links for place in link["within"]}
    one_way = {
        f"{link['text']} → {link['href']}"
        for link in links
        if not link["skip"]
        and (target := targets.get(link["href"]))
        and not any((target, back) in ways for back in ways_to(link["within"], targets))
    }
    assert one_way == set()


def ways_to(places: Iterable[str], targets: dict[str, str]) -> set[str]:
    """The links that lead to one of these places, some of which may not have been followed."""
    return {href for href, target in targets.items() if target in places} | {f"#{place}" for place in places}


@pytest.mark.parametrize("name", PAGES)
def test_other_addresses_are_of_the_web_or_of_files_beside_the_page(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    for link in page.rule("links"):
        href = link["href"]
        assert href.startswith(("#", *HTTP)) or (page.written.path.parent / unquote(href.split("#")[0])).is_file(), href


@pytest.mark.parametrize("name", STUDIES)
def test_every_claim_has_a_tile_that_leads_to_its_row(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    assert isinstance(page.written.record, Run)
    tiles = {link["href"] for link in page.rule("links", ".tiles a")}
    assert {f"#{anchor_of(verdict)}" for verdict in page.written.record.verdicts} <= tiles
