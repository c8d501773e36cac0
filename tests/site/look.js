// Returns what is wrong with the page that is shown: a list of sentences.
(() => {
  const problems = [];
  // A colour that is changing has no contrast yet.
  const still = document.createElement("style");
  still.textContent = "* { transition: none !important; animation: none !important; }";
  document.head.append(still);
  const named = element => {
    const text = element.textContent.trim().replace(/\s+/g, " ").slice(0, 40);
    const names = element.getAttribute("class") || "";
    return `<${element.tagName.toLowerCase()} class="${names}"> ${JSON.stringify(text)}`;
  };
  const shown = element => element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true});

  // The page itself never scrolls sideways.
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) problems.push(`the page is ${root.scrollWidth} px wide`);

  // [red, green, blue, alpha] of a colour, from 0 to 1, drawn by the browser, which knows every notation.
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const cache = new Map();
  const channels = colour => {
    if (!cache.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      cache.set(colour, [...canvas.getImageData(0, 0, 1, 1).data].map(part => part / 255));
    }
    return cache.get(colour);
  };
  const over = (top, below) => [0, 1, 2].map(k => top[k] * top[3] + below[k] * (1 - top[3]));
  const backgrounds = new Map();
  const background = element => {
    if (element === null) return channels("white").slice(0, 3);
    if (!backgrounds.has(element)) {
      const own = channels(getComputedStyle(element).backgroundColor);
      backgrounds.set(element, own[3] === 1 ? own.slice(0, 3) : over(own, background(element.parentElement)));
    }
    return backgrounds.get(element);
  };
  // Relative luminance and contrast as WCAG 2.2 defines them.
  const luminance = colour => {
    const [red, green, blue] = colour.map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (one, other) => {
    const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };

  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set(), clipping = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (seen.has(element) || !walker.currentNode.data.trim() || !shown(element)) continue;
    seen.add(element);
    if (element.closest("svg, mjx-container, script, style, noscript, dialog:not([open]), .visually-hidden")) continue;
    const style = getComputedStyle(element);
    const below = background(element);
    const ratio = contrast(over(channels(style.color), below), below);
    if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(2)} of ${named(element)}`);
    // Only code, outputs, tables and formulas may scroll sideways.
    const ends = element.getBoundingClientRect();
    const scrolls = "pre, table, .highlight, .cell_output, .math-wrapper, .bd-sidebar-primary, .bd-sidebar-secondary";
    if ((ends.right > innerWidth + 1 || ends.left < -1) && !element.closest(scrolls))
      problems.push(`beyond the page, up to ${Math.round(ends.right)} px: ${named(element)}`);
    // An element that clips text hides its end, unless it can be scrolled to.
    for (let box = element; box !== null && box !== document.body; box = box.parentElement) {
      const clips = ["hidden", "clip"].includes(getComputedStyle(box).overflowX);
      if (clips && box.scrollWidth > box.clientWidth + 1 && box.clientWidth > 1 && !clipping.has(box)) {
        clipping.add(box);
        problems.push(`cut off at ${box.clientWidth} of ${box.scrollWidth} px: ${named(box)}`);
      }
    }
  }
  return [...new Set(problems)];
})()
