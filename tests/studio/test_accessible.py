"""What can be computed of accessibility, in a real browser: contrast, names, width of a phone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

PAGES = ("/", "/judge", "/live")

# WCAG 2.2, 1.4.3: (L1 + 0.05) / (L2 + 0.05), L the relative luminance, at least 4.5, or 3 for large text; disabled
# controls are excepted.
CONTRAST = """() => {
  const rgba = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return rgba(getComputedStyle(document.documentElement).backgroundColor).slice(0, 3);
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement, style = getComputedStyle(element);
    const text = texts.currentNode.data.trim();
    if (!text || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    if (element.closest("[disabled], [aria-disabled=true], .unseen, .skip, noscript")) continue;
    const [l1, l2] = [luminance(rgba(style.color)), luminance(behind(element))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    found.push([text, (l1 + 0.05) / (l2 + 0.05), large ? 3 : 4.5]);
  }
  return found;
}"""

USED = "input, select, textarea, button, a[href], [role=img], img, canvas, progress"
NAMELESS = """(used) => [...document.querySelectorAll(used)]
  .filter((one) => one.checkVisibility() && !one.closest("[aria-hidden=true]"))
  .filter((one) => !(one.getAttribute("aria-label") || one.hasAttribute("alt") || one.textContent.trim() || one.title
    || one.labels?.length || one.getAttribute("aria-labelledby")))
  .map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(base_url=address, color_scheme=request.param)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_texts_can_be_read(page: Page, path: str) -> None:
    page.goto(path)
    page.wait_for_timeout(1500)
    texts = page.evaluate(CONTRAST)
    assert len(texts) >= 10
    assert [(text, ratio) for text, ratio, least in texts if ratio < least] == []


@pytest.mark.parametrize("path", PAGES)
def test_everything_that_can_be_used_has_a_name(page: Page, path: str) -> None:
    page.goto(path)
    page.wait_for_timeout(1500)
    assert page.evaluate(NAMELESS, USED) == []
    assert page.locator("main").count() == 1 and page.locator("h1:visible").count() == 1
    assert page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("path", PAGES)
def test_no_page_is_wider_than_a_phone(page: Page, path: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(path)
    page.wait_for_timeout(1500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_keyboard_gets_everywhere_and_is_seen(page: Page) -> None:
    page.goto("/")
    page.wait_for_timeout(1500)
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        at, kind, outline = page.evaluate(
            "[document.activeElement.id, document.activeElement.tagName, "
            "getComputedStyle(document.activeElement).outlineStyle]"
        )
        seen.add(at)
        assert kind == "BODY" or outline != "none", f"no focus to be seen at {kind} {at}"
    assert {"reseed", "seed", "steps", "solver", "play", "scrub"} <= seen
