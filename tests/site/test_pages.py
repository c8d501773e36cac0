"""The built documentation in a real browser: nothing is cut off, too pale, or an error.

``make docs`` builds the pages. All pages that are written by hand are opened, and of those that are
generated, one in `ONE_IN`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from helpers.browser import Browser

pytestmark = pytest.mark.site

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "_build" / "html"
LOOK = (Path(__file__).parent / "look.js").read_text("utf-8").partition("\n")[2]
VIEWS = ((1280, False), (1280, True), (390, True), (390, False))
"""Width in CSS pixels, and whether the scheme is dark."""

GENERATED = ("api/generated/", "_modules/")
"""Folders of pages that one template makes."""

ONE_IN = 10

BUILD_PATH = re.compile(r"/tmp/[\w-]{6,}|/site-packages/|/root/|/home/\w+/|" + re.escape(str(ROOT)))


def pages() -> list[Path]:
    """The pages that are opened, in the order of their names."""
    files = sorted(page for page in SITE.rglob("*.html") if "_static" not in page.parts)
    of_template = [p for p in files if p.relative_to(SITE).as_posix().startswith(GENERATED)]
    return [page for page in files if page not in of_template] + of_template[::ONE_IN]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Browser"]:
    """Headless Chromium."""
    if not SITE.is_dir():
        pytest.skip("the pages are not built (make docs)")
    pytest.importorskip("selenium", reason="selenium is not installed (it is in the group 'test')")
    from helpers.browser import CHROMIUM, DRIVER, Browser

    if not (CHROMIUM and DRIVER):
        pytest.skip(
            "there is no Chromium to look at the pages with (on Debian: apt-get install chromium "
            "chromium-driver)"
        )
    opened = Browser(tmp_path_factory.mktemp("profile"))
    opened.complaints()
    yield opened
    opened.close()


def test_nothing_is_cut_off_or_pale_or_an_error(browser: "Browser") -> None:
    """At the widths of a phone and of a laptop, light and dark."""
    problems: list[str] = []
    for page in pages():
        name = page.relative_to(SITE)
        browser.open(page, *VIEWS[0][:1])
        for width, dark in VIEWS:
            browser.show_at(width, dark=dark)
            view = f"{name} at {width} px, {'dark' if dark else 'light'}"
            problems += [f"{view}: {problem}" for problem in browser.value(LOOK)]
        # The theme logs which scheme and which place of the side bar it has chosen.
        complaints = [line for line in browser.complaints() if "[PST]" not in line]
        problems += [f"{name}: {complaint}" for complaint in complaints]
    assert not problems, "\n".join(problems)


def test_the_checks_see_what_is_wrong(browser: "Browser", tmp_path: Path) -> None:
    """A pale word, a word that is cut off, and one beyond the page."""
    page = tmp_path / "wrong.html"
    page.write_text(
        '<p style="color: #999">pale</p><p style="color: #111">dark</p>'
        '<p style="width: 5em; overflow: hidden; white-space: nowrap">cut off at its end</p>'
        '<pre style="overflow: auto">' + "scrolls " * 99 + "</pre>"
        '<p style="position: absolute; left: 380px">beyond</p>'
    )
    browser.open(page, 390)
    browser.complaints()
    problems = browser.value(LOOK)
    assert len([one for one in problems if "contrast" in one]) == 1
    assert any("contrast" in one and "pale" in one for one in problems)
    assert any("cut off" in one and "its end" in one for one in problems)
    assert any("beyond the page" in one and '"beyond"' in one for one in problems)
    assert not any("scrolls" in one for one in problems)


def test_no_page_shows_a_path_of_the_build() -> None:
    if not SITE.is_dir():
        pytest.skip("the pages are not built (make docs)")
    paths = {
        str(page.relative_to(SITE)): match[0]
        for page in sorted(SITE.rglob("*.html"))
        if (match := BUILD_PATH.search(page.read_text("utf-8")))
    }
    assert not paths
