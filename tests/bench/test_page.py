"""The pages, in a real browser where there is one."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy
import pytest
from click.testing import CliRunner
from helpers.made_up import measured, some_jobs, without, write
from xpnet_bench.accuracy import write_accuracy_report
from xpnet_bench.cli import bench

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from helpers.browser import Browser

SECTIONS = (
    "answer",
    "machine",
    "training",
    "kernels",
    "prediction",
    "cells",
    "feel",
    "gpu",
    "startup",
    "memory",
    "left-out",
)
WIDTHS = (390, 1280)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of made-up results, and one of accuracy."""
    folder = tmp_path_factory.mktemp("pages")
    results = write(measured(some_jobs(), numpy.random.default_rng(0)), folder / "results.json")
    arguments = ["report", str(results), "-o", str(folder)]
    done = CliRunner().invoke(bench, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    write_accuracy_report(ROOT / "bench" / "results" / "tables" / "tables.json", folder)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Browser"]:
    """Headless Chromium."""
    pytest.importorskip("selenium", reason="selenium is not installed (it is in the group 'test')")
    from helpers.browser import CHROMIUM, DRIVER, Browser

    if not (CHROMIUM and DRIVER):
        pytest.skip(
            "there is no Chromium to look at the page with (on Debian: apt-get install chromium "
            "chromium-driver)"
        )
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.mark.parametrize("page", ["report.html", "tables.html"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_stands_in_a_browser(
    browser: "Browser", folder: Path, page: str, width: int, dark: bool
) -> None:
    browser.complaints()
    browser.open(folder / page, width, dark=dark)
    assert browser.value("innerWidth") == width
    assert browser.value("document.documentElement.scrollWidth") <= width
    sizes = browser.value(
        "[...document.querySelectorAll('figure img')].map(i => [i.naturalWidth, i.clientWidth, "
        "i.clientHeight])"
    )
    assert sizes and all(natural > 0 and height > 100 for natural, _, height in sizes)
    assert all(300 <= shown <= width for _, shown, _ in sizes)
    assert browser.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
def test_words_can_be_read_in_both_colour_schemes(
    browser: "Browser", folder: Path, dark: bool
) -> None:
    browser.open(folder / "report.html", 390, dark=dark)
    texts = browser.value("""
        [...document.querySelectorAll("figcaption, p, td, th, small, a")].map(t => [
            getComputedStyle(t).color, t.getBoundingClientRect().height])""")
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert len(texts) > 300
    assert min(_contrast(colour, ground) for colour, _ in texts) >= 4.5
    assert min(height for _, height in texts) >= 9


def _contrast(first: str, second: str) -> float:
    """The ratio of WCAG 2.1, which asks for 4.5."""
    one, two = sorted(map(_luminance, (first, second)))
    return (two + 0.05) / (one + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_how_we_stand_is_seen_without_scrolling(browser: "Browser", folder: Path) -> None:
    browser.open(folder / "report.html", 1280)
    ends = browser.value("""[...document.querySelectorAll(".table")].flatMap(frame =>
        [...frame.querySelectorAll("th")].filter(head => head.textContent.includes(" / ")).map(
            head => head.getBoundingClientRect().right - frame.getBoundingClientRect().right))""")
    assert len(ends) > 8
    assert max(ends) <= 0


def test_tables_sort_by_value_in_both_directions(browser: "Browser", folder: Path) -> None:
    browser.open(folder / "report.html", 1200)
    column = (
        "[...document.querySelectorAll('#kernels tbody')[0].rows]"
        ".map(r => Number(r.cells[1].dataset.value))"
    )
    press = (
        "document.querySelectorAll('#kernels thead')[0].rows[0].cells[1]"
        ".querySelector('button').click()"
    )
    unsorted = browser.value(column)
    browser.value(press)
    assert browser.value(column) == sorted(unsorted)
    browser.value(press)
    assert browser.value(column) == sorted(unsorted, reverse=True)
    assert (
        browser.value("document.querySelector('#kernels th[aria-sort]').getAttribute('aria-sort')")
        == "descending"
    )


def test_the_report_holds_every_section_and_escapes_what_it_shows(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    for anchor in SECTIONS:
        assert f'id="{anchor}"' in page
    assert "A &lt;fast&gt; processor" in page
    assert "cupy is not installed" in page
    assert "http://" not in page and "https://" not in page
    tables = json.loads((folder / "report.json").read_text(encoding="utf-8"))["tables"]
    assert tables["Training"][0]["rows"][0][0]["text"] == "digits 64-32-10 full batch float64"
    assert "## Memory" in (folder / "report.md").read_text(encoding="utf-8")


def test_suites_that_were_not_run_say_so(tmp_path: Path) -> None:
    results = without(measured(some_jobs(), numpy.random.default_rng(0)), "kernels")
    CliRunner().invoke(
        bench,
        ["report", str(write(results, tmp_path / "r.json")), "-o", str(tmp_path)],
        catch_exceptions=False,
    )
    assert "Not measured in this run." in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_the_chart_alone_is_an_image_with_both_schemes(folder: Path) -> None:
    path = folder / "speed.svg"
    CliRunner().invoke(
        bench, ["chart", str(folder / "results.json"), "-o", str(path)], catch_exceptions=False
    )
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
    assert "prefers-color-scheme: dark" in path.read_text(encoding="utf-8")
