"""On paper, A4: no row, claim or figure cut in two that fits on a page, no heading without what it heads."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from opened_page import Opened
from pages import PAGES

pytestmark = pytest.mark.browser

# What is left of A4 between the margins that the style sheet asks for, 13 mm each, and how far labels may reach into
# those, in CSS pixels.
WIDTH, INTO_MARGIN = 695, 40
MARK = re.compile(r"\[\[(\d+)[az]\]\]")
# Marks in the smallest letters: the first and last text of each row, claim and figure (a, z), the end of each heading
# (z) and the begin of what it heads (a). Where the browser breaks the pages is then read from the PDF.
MARKING = """
() => {
  const seen = each => each.checkVisibility();
  const texts = root => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const found = [];
    for (let node = walker.nextNode(); node; node = walker.nextNode())
      if (node.data.trim() && !node.parentElement.closest("svg, style, script, .unseen") && seen(node.parentElement))
        found.push(node);
    return found;
  };
  const all = texts(document.body);
  const names = [];
  const wanted = [];
  for (const each of document.querySelectorAll("tbody tr, .claim, figure, .notice, .brief, .tiles")) {
    const within = texts(each);
    if (!within.length || each.getBoundingClientRect().height > 900) continue;
    const cells = each.matches("tr") ? [...each.children].map(texts).filter(found => found.length) : [within];
    wanted.push([each, cells.map(found => [found[0], "a"]).concat(cells.map(found => [found.at(-1), "z"]))]);
  }
  for (const each of document.querySelectorAll("h1, h2, h3, h4, caption, figcaption, details[open] > summary")) {
    const within = texts(each);
    // A table's head is printed again on each page: what its caption heads is its first row.
    const body = each.matches("caption") ? texts(each.parentElement.tBodies[0]) : [];
    const next = body[0] || all[all.indexOf(within.at(-1)) + 1];
    const headed = each.matches("caption, figcaption, summary") ? each.parentElement : document.body;
    if (within.length && next && headed.contains(next)) wanted.push([each, [[within.at(-1), "z"], [next, "a"]]]);
  }
  const marks = [];
  wanted.forEach(([each, places], number) => {
    const text = each.textContent.trim().replace(/\\s+/g, " ").slice(0, 60);
    names.push(`${each.tagName.toLowerCase()}.${each.className}: ${text}`);
    for (const [node, letter] of places) marks.push([node, number, letter]);
  });
  for (const [node, number, letter] of marks) {
    const mark = document.createElement("span");
    mark.style = "font: 1px monospace; unicode-bidi: isolate; letter-spacing: 0; direction: ltr";
    mark.textContent = `[[${number}${letter}]]`;
    if (letter === "a") node.before(mark); else node.after(mark);
  }
  return names;
}
"""


@pytest.mark.parametrize("state", ["folded", "unfolded"])
@pytest.mark.parametrize("name", [name for name in PAGES if not name.startswith(("large", "hostile"))])
def test_pages_break_where_a_reader_would_break_them(opened: Callable[..., Opened], name: str, state: str) -> None:
    from pypdf import PdfReader

    page = opened(name, WIDTH, media="print")
    if state == "unfolded":
        page.rule("openAll")
    names = page.page.evaluate(MARKING)
    document = PdfReader(io.BytesIO(page.page.pdf(format="A4")))
    pages: dict[int, set[int]] = {}
    for number, sheet in enumerate(document.pages, 1):
        for found in MARK.finditer(re.sub(r"\s", "", sheet.extract_text())):
            pages.setdefault(int(found[1]), set()).add(number)
    assert len(pages) >= 0.9 * len(names), f"only {len(pages)} of {len(names)} marks were found in the PDF"
    divided = [f"{names[place]} on pages {sorted(found)}" for place, found in pages.items() if len(found) > 1]
    assert divided == []


@pytest.mark.parametrize("state", ["folded", "unfolded"])
@pytest.mark.parametrize("name", PAGES)
def test_paper_shows_all_of_it_and_its_small_print_is_small(
    opened: Callable[..., Opened], name: str, state: str
) -> None:
    page = opened(name, WIDTH, media="print")
    if state == "unfolded":
        page.rule("openAll")
    found = {
        **page.rule("layout", INTO_MARGIN),
        "scrolls": page.rule("cutOnPaper"),
        "larger than the body": page.rule("largerThanBody"),
    }
    assert {fault: places for fault, places in found.items() if places} == {}
