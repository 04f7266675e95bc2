"""Links: each leads somewhere, shows it, and has its way back."""

from collections.abc import Callable
from urllib.parse import unquote

import pytest
from opened_page import Opened
from pages import PAGES

pytestmark = pytest.mark.browser

HTTP = ("http://", "https://")


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere_and_has_its_way_back(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    ids = page.rule("ids")
    assert len(ids) == len(set(ids))
    links = page.rule("links")
    within = [link for link in links if link["href"].startswith("#")]
    # A page of one thing only may have none; those of many things do.
    assert within or name in ("session", "check", "history", "hostile-session")
    assert {link["href"] for link in within if target(link) not in ids} == set()
    assert page.rule("follow", sorted({link["href"] for link in within})) == []
    ways = {(place, target(link)) for link in within for place in link["within"]}
    one_way = {
        f"{link['text']} → {link['href']}"
        for link in within
        if not link["skip"] and not any((target(link), place) in ways for place in link["within"])
    }
    assert one_way == set()


def target(link: dict[str, str]) -> str:
    return unquote(link["href"].removeprefix("#"))


@pytest.mark.parametrize("name", PAGES)
def test_other_addresses_are_of_the_web_or_of_files_beside_the_page(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    for link in page.rule("links"):
        href = link["href"]
        assert href.startswith(("#", *HTTP)) or (page.written.path.parent / unquote(href.split("#")[0])).is_file(), href


@pytest.mark.parametrize("name", PAGES)
def test_every_claim_links_to_its_evidence_and_every_figure_to_its_claims(
    opened: Callable[..., Opened], name: str
) -> None:
    """A claim that was measured shows it in its own row or links to what does; that links back."""
    verdicts = getattr(opened(name).written.record, "verdicts", ())
    links = opened(name).rule("links")
    claims = {place for link in links for place in link["within"] if place.startswith("claim-")}
    ran = [verdict for verdict in verdicts if any(reading.values for reading in verdict.readings)]
    assert len(claims) >= len(ran)
