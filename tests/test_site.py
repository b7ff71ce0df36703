"""The site: complete, without a broken link or a leak, and in Chromium without errors, also on a phone."""

from __future__ import annotations

import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urljoin, urlparse

import nbformat
import pytest
from browser import CHROMIUM, FLAGS, NO_BROWSER, picture

from course import registry
from course.grader.leaks import leaks
from course.site.__main__ import build
from course.site.mathml import mathml
from course.site.pages import in_words

ROOT = Path(__file__).parents[1]
PHONE = {"width": 375, "height": 740}
needs_browser = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER or "there is one")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built once."""
    out = tmp_path_factory.mktemp("site") / "www"
    warnings = build(out)
    assert not warnings, "\n".join(warnings)
    return out


class Page(HTMLParser):
    """Links, what is loaded, and anchors of one page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes) -> None:
        has = dict(attributes)
        self.anchors |= {has[key] for key in ("id", "name") if has.get(key)}
        if tag == "a" and has.get("href"):
            self.links.append(has["href"])
        if tag in ("script", "img", "iframe", "source") and has.get("src"):
            self.loads.append(has["src"])
        if tag == "link" and has.get("href"):
            self.loads.append(has["href"])


def broken(site: Path) -> list[str]:
    """ "page: address" of each link and asset that leads nowhere; what is loaded must be the site's own."""
    pages = {file.relative_to(site).as_posix(): Page(file) for file in site.rglob("*.html")}
    found = []
    for name, page in pages.items():
        for address in (*page.links, *page.loads):
            parts = urlparse(address)
            if parts.scheme in ("http", "https", "mailto", "data") or parts.netloc:
                if address in page.loads and parts.scheme != "data":
                    found.append(f"{name}: loads {address}")
                continue
            target = unquote(urlparse(urljoin(f"http://site/{name}", address)).path).lstrip("/") or name
            if not (site / target).is_file():
                found.append(f"{name}: {address}")
            elif parts.fragment and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{name}: {address} (no such place)")
    return found


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    found = broken(site)
    assert not found, "\n".join(found)


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "b.html").write_text('<p id="there">')
    links = ("b.html#there", "b.html#gone", "c.html", "https://example.org", "#x")
    loads = '<script src="https://example.org/x.js"></script><img src="x.png">'
    (tmp_path / "a.html").write_text("".join(f'<a href="{link}"></a>' for link in links) + loads)
    expected = ["b.html#gone (no such place)", "c.html", "#x (no such place)"]
    expected += ["loads https://example.org/x.js", "x.png"]
    assert broken(tmp_path) == [f"a.html: {one}" for one in expected]


def test_all_that_the_course_has_is_there(site):
    pages = {file.relative_to(site).with_suffix("").as_posix() for file in site.rglob("*.html")}
    assert {f"lectures/{file.stem}" for file in ROOT.glob("lectures/*.ipynb")} <= pages
    assert {f"exercises/{file.stem}" for file in ROOT.glob("exercises/*/*.ipynb")} <= pages
    assert {"index", "start", "syllabus", "notation", "search", "api/a_crystal", "api/train"} <= pages
    syllabus = (site / "syllabus.html").read_text()
    for slide in registry.slides().values():
        if slide.lecture:
            place = f"{slide.lecture.removesuffix('.ipynb')}.html#slide-{slide.id}"
            assert f'href="{place}"' in syllabus
    lecture = (site / "lectures" / "D_cgcnn.html").read_text()
    stored = nbformat.read(ROOT / "lectures" / "D_cgcnn.ipynb", as_version=4)
    pictures = sum("image/png" in o.get("data", {}) for c in stored.cells for o in c.get("outputs", ()))
    assert lecture.count("<img ") >= pictures and "mermaid" not in lecture
    assert 'alt="CsCl with the eight bonds of the chlorine in its middle."' in lecture
    assert (
        lecture.count("<math ") > 5 and 'id="GatedConvolution"' in (site / "api" / "d_cgcnn.html").read_text()
    )


def test_nothing_leaks(site):
    assert not leaks(site.with_name(f"{site.name}-source"), ROOT)


def test_formulas_and_diagrams_are_converted():
    assert "\U0001d42b" in mathml(r"\mathbf r_{\rm cut}", "inline")  # a bold r
    assert "\\" not in mathml(r"\tfrac12 \Big|_{\epsilon = 0} \lvert x \rvert", "inline").split(">", 1)[1]
    diagram = 'graph LR\n accTitle: Two\n A["one a"] -- "how" --> B((two))\n B -->|then| C[three]\n'
    assert in_words(diagram) == "Two:\n\n- one a → two (how)\n- two → three (then)"


# In the browser


@pytest.fixture(scope="module")
def browser(site):
    """A page as wide as a phone, and what went wrong on it so far."""
    from playwright.sync_api import sync_playwright

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_page(viewport=PHONE)
        page.set_default_timeout(120_000)
        wrong: list[str] = []
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda r: wrong.append(r.url) if r.failure != "net::ERR_ABORTED" else None)
        page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("request", lambda r: None if r.url.startswith((address, "data:")) else wrong.append(r.url))
        yield SimpleNamespace(page=page, address=address, wrong=wrong)
        chromium.close()
    server.shutdown()


# What reaches beyond the screen and is in no box that scrolls, also where the page cuts it off.
TOO_WIDE = """() => [...document.querySelectorAll("article *")].filter(e => {
    if (e.getBoundingClientRect().right <= innerWidth + 1 || !e.checkVisibility()) return false
    for (let box = e.parentElement; box; box = box.parentElement)
        if (["auto", "scroll"].includes(getComputedStyle(box).overflowX) && box.tagName != "HTML")
            return box.getBoundingClientRect().right > innerWidth + 1
    return true
}).slice(0, 3).map(e => e.outerHTML.slice(0, 80))
    .concat(document.documentElement.scrollWidth > innerWidth ? ["the page itself"] : [])"""


@needs_browser
def test_no_page_is_wider_than_a_phone_or_has_an_error(site, browser):
    """All pages but those of the reference, of which every eighth: they are made alike."""
    pages = sorted(file.relative_to(site).as_posix() for file in site.rglob("*.html"))
    reference = [name for name in pages if name.startswith("api/")]
    for name in (*reference[::8], *(name for name in pages if name not in reference)):
        browser.page.goto(f"{browser.address}/{name}", wait_until="load")
        assert not browser.wrong, (name, browser.wrong)
        assert not browser.page.evaluate(TOO_WIDE), (name, browser.page.evaluate(TOO_WIDE))


@needs_browser
def test_an_error_and_a_wide_page_are_noticed(site, browser):
    (site / "faulty.html").write_text(
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        '<body style="overflow-x: hidden">'
        '<article><pre style="width: 900px">x</pre></article><script>nothing()</script><img src="no.png">'
    )
    browser.page.goto(f"{browser.address}/faulty.html")
    assert any("nothing is not defined" in line for line in browser.wrong)
    assert any("404" in line for line in browser.wrong) and "<pre" in browser.page.evaluate(TOO_WIDE)[0]
    (site / "faulty.html").unlink()
    browser.page.goto(f"{browser.address}/index.html")  # what the other page still reports comes before
    browser.wrong.clear()


@needs_browser
def test_search_finds_and_a_slide_leads_to_its_lecture(browser):
    page = browser.page
    page.goto(f"{browser.address}/search.html?q=GatedConvolution")
    page.wait_for_selector("ul.search li a")
    found = page.locator("ul.search li a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert any("exercises/cgcnn" in one or "lectures/D_cgcnn" in one for one in found), found
    page.goto(f"{browser.address}/syllabus.html")
    page.click('article a[href$="#slide-21"]')
    page.wait_for_url("**/lectures/D_cgcnn.html#slide-21")
    there = "document.getElementById('slide-21').getBoundingClientRect().top"
    page.wait_for_function(f"0 <= {there} && {there} < innerHeight")  # it scrolls there, smoothly
    page.goto(f"{browser.address}/index.html")
    page.set_viewport_size({"width": 1240, "height": 800})
    page.goto(f"{browser.address}/lectures/D_cgcnn.html#slide-21")
    page.wait_for_function(f"Math.abs({there}) < 100")
    picture(page, "site", colours=128)
    assert not browser.wrong, browser.wrong
