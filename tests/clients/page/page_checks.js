// Checks of a page that run inside it; each returns what is wrong. One expression: an object.
({
  /** The element with the focus. */
  focused() {
    const element = document.activeElement;
    return element.tagName.toLowerCase() + (element.id ? `#${element.id}` : "");
  },

  /**
   * Text whose contrast against what is behind it is below 4.5, or 3 where it is large (WCAG 2,
   * 1.4.3). Controls that are switched off are exempt there.
   */
  unreadable() {
    const parse = (text) => {
      const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
      return [r, g, b, a];
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const light = (rgb) => {
      const [r, g, b] = rgb.map((c) => linear(c / 255));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const behind = (element) => {
      const layers = [];
      for (let e = element; e; e = e.parentElement) {
        layers.unshift(parse(getComputedStyle(e).backgroundColor));
      }
      const canvas = dark ? [18, 18, 18] : [255, 255, 255];
      return layers.reduce((below, layer) => over(layer, below), canvas);
    };
    const exempt = ":disabled, .unseen, noscript, option, script";
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const text = walker.currentNode.data.trim();
      const element = walker.currentNode.parentElement;
      if (!text || !element.checkVisibility() || element.closest(exempt)) continue;
      const style = getComputedStyle(element);
      const ground = behind(element);
      const front = over(parse(element.closest("svg") ? style.fill : style.color), ground);
      const [a, b] = [light(front), light(ground)].sort((x, y) => y - x);
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      const ratio = (a + 0.05) / (b + 0.05);
      if (ratio < (large ? 3 : 4.5)) found.push(`${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
    }
    return found;
  },

  /** What is wider than the window. What scrolls inside a frame of its own is not. */
  overflowing() {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll("body *")]
      .filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > width + 1)
      .map((e) => `${e.tagName}.${e.className}`)
      .slice(0, 9);
  },

  /** Everything that can be operated, once, marked; of tabs, tokens, radios the group's one stop. */
  operable() {
    const controls = "a[href], button, input, select, textarea, summary";
    const roles = "[role=button], [role=tab], [role=radio]";
    const found = new Set();
    let number = 0;
    for (const element of document.querySelectorAll(`${controls}, ${roles}`)) {
      if (element.disabled || !element.checkVisibility()) continue;
      const group = element.closest("[role=tablist], [role=radiogroup], .tokens");
      const stop = group ? group.querySelector("[tabindex='0']") : element;
      if (stop && !stop.dataset.stop) {
        stop.dataset.stop = `${++number} ${stop.outerHTML.slice(0, 60)}`;
      }
      found.add(stop ? stop.dataset.stop : "a group without a stop");
    }
    return [...found];
  },
})
