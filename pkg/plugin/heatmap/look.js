// Looks at a heat map, and returns what the test's type seen has.
(() => {
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = channels(color).map((c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  // Behind a text are the nearest colour, and the stripes of a hatched cell.
  const behind = (element) => {
    const all = [];
    for (let e = element; e; e = e.parentElement) {
      const style = getComputedStyle(e);
      all.push(...(style.backgroundImage.match(/rgba?\([^)]*\)/g) || []).filter((c) => channels(c)[3] !== 0));
      if (channels(style.backgroundColor)[3] !== 0) return [...all, style.backgroundColor];
    }
    return [...all, getComputedStyle(document.body).backgroundColor];
  };
  const seen = { Contrast: 99, Faintest: '', Clipped: [], Marked: 0 };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || element.closest('.sr')) continue;
    for (const color of behind(element)) {
      const ratio = contrast(getComputedStyle(element).color, color);
      if (ratio < seen.Contrast) { seen.Contrast = ratio; seen.Faintest = `${element.tagName}.${element.className} "${text.slice(0, 40)}" on ${color}`; }
    }
  }
  for (const text of document.querySelectorAll('.map td b, .map td small')) {
    const range = document.createRange();
    range.selectNodeContents(text);
    const [inner, outer] = [range.getBoundingClientRect(), text.closest('td').getBoundingClientRect()];
    if (inner.left < outer.left - 0.5 || inner.right > outer.right + 0.5) seen.Clipped.push(text.textContent);
  }
  seen.Ramp = [...document.querySelectorAll('.ramp span')].map((e) => luminance(getComputedStyle(e).backgroundColor));
  for (const cell of document.querySelectorAll('.map td.out')) {
    const bold = cell.querySelector('b');
    if (bold.textContent.endsWith('!') && Number(getComputedStyle(bold).fontWeight) >= 700 && getComputedStyle(cell).boxShadow !== 'none' && cell.textContent.includes('out of tolerance')) seen.Marked++;
  }
  seen.Unscoped = document.querySelectorAll('th:not([scope])').length;
  seen.Overflow = document.documentElement.scrollWidth - innerWidth;
  const map = document.querySelector('.map');
  map.scrollTo(500, 500);
  const [top, left] = [document.querySelector('.map thead th').getBoundingClientRect().top, document.querySelector('.map tbody th').getBoundingClientRect().left];
  const box = map.getBoundingClientRect();
  seen.Stuck = top >= box.top - 1 && left >= box.left - 1;
  map.scrollTo(0, 0);
  const style = getComputedStyle(document.body);
  seen.Page = style.backgroundColor;
  seen.Kept = style.printColorAdjust === 'exact' && getComputedStyle(map.querySelector('td')).printColorAdjust === 'exact';
  return seen;
})()
