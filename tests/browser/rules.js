// What the browser tests measure of a page, as functions of one object: `rules`.
(() => {
  const EDGE = 1; // pixels that rounding may take

  const hidesWhatIsOutside = style => /hidden|clip/.test(style.overflowX) || /hidden|clip/.test(style.overflowY);
  const scrolls = style => /auto|scroll/.test(style.overflowX);
  // Only for who hears the page; and the link that shows itself when it has the focus.
  const isForScreenReaders = element =>
    getComputedStyle(element).clipPath.startsWith("inset(50%") || element.matches("a.skip:not(:focus)");

  function ancestors(element) {
    const found = [];
    for (let each = element; each && each !== document.documentElement; each = each.parentElement) found.push(each);
    return found;
  }

  const isSeen = element =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
    !ancestors(element).some(isForScreenReaders);

  function textNodes() {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const parent = node.parentElement;
      if (node.data.trim() && !parent.closest("style, script, title, desc, template") && isSeen(parent)) found.push(node);
    }
    return found;
  }

  // Every line of every text that is seen: its box, what of it is within the boxes that clip it, and by which it is cut.
  function lines(edge = EDGE) {
    const found = [];
    textNodes().forEach((node, index) => {
      const range = document.createRange();
      range.selectNodeContents(node);
      const clips = ancestors(node.parentElement).map(each => [each, getComputedStyle(each)]).filter(
        ([each, style]) => !(each instanceof SVGElement) && (scrolls(style) || hidesWhatIsOutside(style)));
      for (const rect of range.getClientRects()) {
        if (rect.width < 0.5 || rect.height < 0.5) continue;
        const line = {
          index, text: node.data.trim().slice(0, 60), parent: node.parentElement, cut: "",
          left: rect.left, right: rect.right, top: rect.top + scrollY, bottom: rect.bottom + scrollY,
        };
        const middle = (line.top + line.bottom) / 2;
        let scrolling = false;
        for (const [each, style] of clips) {
          const box = each.getBoundingClientRect();
          const clamped = style.webkitLineClamp !== "none"; // shows its own … and all of it once it is unfolded
          if (!scrolls(style) && !scrolling && !clamped &&
              (line.left < box.left - EDGE || line.right > box.right + EDGE ||
               middle > box.bottom + scrollY || middle < box.top + scrollY))
            line.cut = `cut by ${each.tagName.toLowerCase()}.${each.className}`;
          scrolling ||= scrolls(style);
          line.left = Math.max(line.left, box.left); line.right = Math.min(line.right, box.right);
          line.top = Math.max(line.top, box.top + scrollY); line.bottom = Math.min(line.bottom, box.bottom + scrollY);
        }
        const width = document.documentElement.clientWidth;
        if (!scrolling && !line.cut && (line.left < -edge || line.right > width + edge)) line.cut = "beyond the edge of the page";
        if (line.cut || (line.right - line.left > 0.5 && line.bottom - line.top > 0.5)) found.push(line);
      }
    });
    return found;
  }

  const where = line => `${Math.round(line.left)},${Math.round(line.top)} “${line.text}”`;

  // Lines of two texts lie on one another: of each only the middle of its height counts, where its letters are.
  function overlapping(all) {
    const letters = all.filter(line => !line.cut).map(line => {
      const height = line.bottom - line.top;
      return { ...line, left: line.left + 0.75, right: line.right - 0.75, top: line.top + 0.25 * height, bottom: line.bottom - 0.2 * height };
    }).sort((a, b) => a.top - b.top);
    const found = [];
    letters.forEach((line, place) => {
      for (let other = place + 1; other < letters.length && letters[other].top < line.bottom - 0.5; other++) {
        const next = letters[other];
        if (next.index !== line.index && next.left < line.right && next.right > line.left)
          found.push(`${where(line)} and ${where(next)}`);
      }
    });
    return found;
  }

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  canvas.canvas.width = canvas.canvas.height = 1;
  // Any colour that CSS knows → red, green, blue, alpha as they are drawn.
  function asDrawn(colour) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = "#000";
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  }

  // The last of the headings before an element in its part of the page.
  const headingsOf = element => [...(element.closest("section, header") || document.body).querySelectorAll("h1, h2, h3, h4")]
    .filter(each => each.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING).slice(-1);

  const number = text => parseFloat(text.replace(/,/g, ""));
  const cellsOf = table => [...table.rows].map(row => [...row.cells].map(cell => cell.textContent.trim()));

  window.rules = {
    // edge: how many pixels text may reach beyond those of the page.
    layout(edge = EDGE) {
      const all = lines(edge);
      const root = document.documentElement;
      return {
        wider: root.scrollWidth - root.clientWidth,
        cut: all.filter(line => line.cut).map(line => `${where(line)} ${line.cut}`),
        overlapping: overlapping(all),
      };
    },

    // Own words read from left to right, whatever direction a name from outside asks for.
    reversed(foreign) {
      const found = [];
      for (const node of textNodes()) {
        let own = node.data;
        for (const each of foreign) own = own.split(each).join("\u0000".repeat(each.length));
        const range = document.createRange();
        const box = at => { range.setStart(node, at); range.setEnd(node, at + 1); return range.getBoundingClientRect(); };
        for (const match of [...own.matchAll(/[a-z]{2}/gi)].slice(0, 20)) {
          const [first, second] = [box(match.index), box(match.index + 1)];
          if (first.top === second.top && second.left < first.left) { found.push(node.data.slice(0, 80)); break; }
        }
      }
      return found;
    },

    // Each line of text with the colour of its letters, for the arithmetic of contrast.
    inks() {
      return lines().filter(line => !line.cut).map(line => {
        const style = getComputedStyle(line.parent);
        const isSvg = line.parent instanceof SVGElement;
        const [red, green, blue, alpha] = asDrawn(isSvg ? style.fill : style.color);
        const opacity = ancestors(line.parent).reduce((product, each) => product * Number(getComputedStyle(each).opacity), 1);
        return {
          left: line.left, right: line.right, top: line.top, bottom: line.bottom, text: line.text,
          colour: [red, green, blue], opacity: opacity * (alpha / 255) * (isSvg ? Number(style.fillOpacity) : 1),
          size: parseFloat(style.fontSize), bold: Number(style.fontWeight) >= 700,
        };
      });
    },

    // The colour that text of a class has, by class.
    colours(classes) {
      return Object.fromEntries(classes.map(name => {
        const probe = document.createElement("span");
        probe.className = name;
        document.body.append(probe);
        const colour = asDrawn(getComputedStyle(probe).color).slice(0, 3);
        probe.remove();
        return [name, colour];
      }));
    },

    // The text of parts of the page, folded or not, of figures too, but for the ticks of their axes and what is left out.
    parts(selector, without = "nothing") {
      return [...document.querySelectorAll(selector)].map(part => {
        const walker = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
        const texts = [];
        for (let node = walker.nextNode(); node; node = walker.nextNode())
          if (!node.parentElement.closest(`.tick, .strip text, ${without}`)) texts.push(node.data);
        const spoken = [...part.querySelectorAll("[alt], [aria-label]")].filter(each => !each.closest(without));
        return { id: part.id, text: texts.concat(spoken.map(each => each.alt || each.ariaLabel)).join(" ") };
      });
    },

    // The cells of the first table there, row by row; null: there is none.
    table(selector) {
      const table = document.querySelector(selector.replace(/[.]/g, "\\."));
      return table && cellsOf(table);
    },

    // Charts of curves: the ticks of the upright axis, each thick line's points, the labels and the table below them.
    curves() {
      return [...document.querySelectorAll("figure:has(svg.curves)")].map(figure => {
        const chart = figure.querySelector("svg.curves");
        return {
          title: chart.querySelector("title").textContent,
          ticks: [...chart.querySelectorAll(".tick[text-anchor=end]")].map(each => [number(each.getAttribute("y")) - 4, number(each.textContent)]),
          labels: [...chart.querySelectorAll(".value")].map(each => each.textContent),
          curves: [...chart.querySelectorAll("svg")].map(each => [...each.querySelectorAll(".mean-line")]
            .flatMap(line => line.getAttribute("points").split(" ").map(point => point.split(",").map(Number))))
            .filter(points => points.length),
          table: cellsOf(figure.querySelector("table")),
        };
      });
    },

    // Strips within an element: what they are of, ticks, and the places of dots and mean, in percent.
    strips(selector) {
      return [...document.querySelectorAll(`${selector.replace(/[.]/g, "\\.")} .strip`)].map(strip => ({
        title: strip.querySelector("title").textContent,
        ticks: [...strip.querySelectorAll("text")].map(each => [number(each.getAttribute("x")), number(each.textContent)]),
        dots: [...strip.querySelectorAll(".dot")].map(each => number(each.getAttribute("cx"))),
        mean: [...strip.querySelectorAll(".mean")].map(each => number(each.getAttribute("x"))),
      }));
    },

    paper: () => asDrawn(getComputedStyle(document.body).backgroundColor).slice(0, 3),

    ids: () => [...document.querySelectorAll("[id]")].map(each => each.id),

    // Every link: where it leads, what ids it stands within or, of headings, below, and whether it is the skip link.
    links(among = "a") {
      return [...document.querySelectorAll(among)].filter(link => link.hasAttribute("href")).map(link => ({
        href: link.getAttribute("href"), text: link.textContent.trim().slice(0, 60), skip: link.matches(".skip"),
        within: [...ancestors(link), ...headingsOf(link)].map(each => each.id).filter(Boolean),
      }));
    },

    // Of each link within the page the id of what the browser goes to, where that is seen then; else nothing.
    follow(hrefs) {
      const found = {};
      for (const href of hrefs) {
        location.hash = href;
        const target = document.querySelector(":target");
        found[href] = target && target.checkVisibility() ? target.id : "";
      }
      return found;
    },

    openAll: () => document.querySelectorAll("details").forEach(each => { each.open = true; }),
    shown: selector => [...document.querySelectorAll(selector)].filter(each => each.checkVisibility()).length,
    elements: () => document.querySelectorAll("*").length,
    height: () => document.documentElement.scrollHeight,

    // Sizes of text that is no heading, where it is larger than the body's.
    largerThanBody() {
      const body = parseFloat(getComputedStyle(document.body).fontSize);
      return [...new Set(textNodes().filter(node => !node.parentElement.closest("h1, h2, h3"))
        .filter(node => parseFloat(getComputedStyle(node.parentElement).fontSize) > body + 0.01)
        .map(node => `${getComputedStyle(node.parentElement).fontSize} of ${body}px: “${node.data.trim().slice(0, 40)}”`))];
    },

    // Tables and other frames that would scroll: on paper nobody can.
    cutOnPaper() {
      return [...document.querySelectorAll("*")].filter(each => !(each instanceof SVGElement) && isSeen(each))
        .filter(each => scrolls(getComputedStyle(each)) && each.scrollWidth > each.clientWidth + EDGE)
        .map(each => `${each.getAttribute("aria-label") || each.className}: ${each.scrollWidth} of ${each.clientWidth} pixels`);
    },

    // Where the focus is: its place among all elements, and whether that can be seen.
    focus() {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const shown = element.matches("input") && element.labels.length ? element.labels[0] : element;
      const style = getComputedStyle(shown);
      const box = shown.getBoundingClientRect();
      return {
        place: [...document.querySelectorAll("*")].indexOf(element), tag: element.tagName.toLowerCase(),
        text: (element.textContent || element.id).trim().slice(0, 60), href: element.getAttribute("href"),
        ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1,
        seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
      };
    },
  };
})();
