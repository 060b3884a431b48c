"""A browser that asks no host but this one, and what is asked on a page."""

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

# of every text in sight within what is selected: its contrast to the opaque ground below it, and the text
TEXT_CONTRASTS = """(selected) => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
  };
  const found = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const said = texts.currentNode.data.trim(), seen = element.checkVisibility({ visibilityProperty: true });
    if (!said || !seen || !element.closest(selected)) continue;
    const pair = [getComputedStyle(element).color, background(element)].map(luminance).sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), said]);
  }
  return found;
}"""
