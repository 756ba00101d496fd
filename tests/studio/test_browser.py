"""The pages as a person uses them, in a real browser: no error on the console, nothing asked of another host."""

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from bakeoff.report import write_report
from command import bakeoff
from serving import studio

pytestmark = pytest.mark.slow

NAMES = ("mamba", "transformer", "hybrid", "smoke")


class Watched:
    """A page whose every request and complaint is kept."""

    def __init__(self, page: Page, home: str) -> None:
        self.page, self.home = page, home
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )

    def check(self) -> None:
        assert not self.complaints
        assert self.asked and not [url for url in self.asked if not url.startswith((self.home, "data:", "blob:"))]


@pytest.fixture(params=["desktop", "phone"])
def watched(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Watched]:
    size = {"desktop": (1280, 900), "phone": (360, 740)}[request.param]
    context = browser.new_context(base_url=address, viewport={"width": size[0], "height": size[1]})
    seen = Watched(context.new_page(), address)
    yield seen
    wide = seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{wide} pixels wider than the window"
    seen.check()
    context.close()


def panes(page: Page) -> list[str]:
    """What each backbone's large canvas shows, once the page has drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate("[...document.querySelectorAll('#panes .sheet canvas')].map((canvas) => canvas.toDataURL())")


def flowed(page: Page) -> None:
    """To the last step."""
    expect(page.locator("#at")).to_have_text(re.compile(r"step (\d+) of \1$"))


@contextmanager
def flowing(page: Page, what: str = "/api/flow") -> Iterator[None]:
    """An action that makes a new flow begin, and that flow to its end."""
    with page.expect_response(lambda answer: what in answer.url):
        yield
    flowed(page)


def test_the_flow_is_reseeded_chosen_scrubbed_and_played(watched: Watched) -> None:
    page, at = watched.page, watched.page.locator("#at")
    with flowing(page):
        page.goto("/")
    expect(page.locator("#strips-note")).to_contain_text("64 samples")
    for name in NAMES[:3]:
        expect(page.locator("#panes")).to_contain_text(name)
    expect(page.locator("#panes")).to_contain_text("ms")

    last = panes(page)
    assert len(set(last)) == 3
    page.locator("body").press("Home")
    expect(at).to_have_text(re.compile("step 0 of"))
    noise = panes(page)
    assert len(set(noise)) == 1
    page.locator("#scrub").fill("1")
    expect(at).to_have_text(re.compile("step 1 of"))
    page.locator("body").press("ArrowRight")
    expect(at).to_have_text(re.compile("step 2 of"))
    page.locator("body").press("Home")
    page.locator("body").press("Space")
    flowed(page)
    assert panes(page) == last

    seed = page.locator("#seed").input_value()
    with flowing(page):
        page.locator("#reseed").click()
    expect(page.locator("#seed")).not_to_have_value(seed)
    assert panes(page) != last
    with flowing(page):
        page.locator("#seed").fill(seed)
        page.locator("#seed").press("Enter")
    assert panes(page) == last
    with flowing(page):
        page.locator("#reseed").focus()
        page.keyboard.press("7")
    expect(page).to_have_url(re.compile("label=7"))
    assert panes(page) != last
    expect(page.locator("#panes canvas").first).to_have_attribute(
        "aria-label", re.compile("Digit 7 under mamba at step")
    )
    expect(page.locator("#keys")).to_contain_text("0 … 9 digit")


def test_a_link_gives_the_same_picture(watched: Watched) -> None:
    page = watched.page
    with flowing(page):
        page.goto("/?label=4&noise=11&steps=3&solver=heun")
    expect(page.locator("#at")).to_have_text("step 3 of 3")
    shown = panes(page)
    with flowing(page):
        page.reload()
    assert panes(page) == shown and "label=4" in page.url and "solver=heun" in page.url


def test_judging_blind_to_the_reveal(watched: Watched) -> None:
    page = watched.page
    answers: list[str] = []

    def keep(route: Route) -> None:
        answer = route.fetch()
        if "/reveal" not in route.request.url:
            answers.append(" ".join([answer.url, str(answer.headers), answer.text()]))
        route.fulfill(response=answer)

    page.route("**/*", keep)
    page.goto("/judge")
    expect(page.locator("#welcome")).to_contain_text("whether its digits are clean, whether it is noise, or that")
    page.locator("#who").fill("Ada")
    page.locator("#who").press("Enter")
    expect(page.locator("#where")).to_have_text("1 of 6")
    page.locator("body").press("c")
    expect(page.locator("#where")).to_have_text("2 of 6")
    with page.expect_response(re.compile("/votes")):
        page.locator("body").press("n")
    page.reload()
    expect(page.locator("#where")).to_have_text("3 of 6")
    page.locator("body").press("ArrowLeft")
    expect(page.locator("#where")).to_have_text("2 of 6")
    for _ in range(4):
        page.locator("body").press("u")
    before = page.content() + "".join(answers)
    assert "base64" in before and not any(name in before.lower() for name in NAMES)
    page.locator("[data-vote=clean]").click()
    expect(page.locator("#review")).to_be_visible()
    assert not any(name in (page.content() + "".join(answers)).lower() for name in NAMES)
    page.locator("#reveal").click()
    expect(page.locator("#revealed")).to_be_visible()
    for name in NAMES[:3]:
        expect(page.locator("#shares")).to_contain_text(name)
    expect(page.locator("#check")).to_contain_text(re.compile("same|match|holds|unchanged|nothing", re.I))
    assert not any(name in "".join(answers).lower() for name in NAMES)


def test_the_live_page_follows_the_run(browser: Browser, smoke: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(smoke, tmp_path / "run"))
    kept = (run / "trials/hybrid-s0/measurement.json").rename(tmp_path / "kept.json")
    context = browser.new_context()
    with studio(run) as url:
        seen = Watched(context.new_page(), url)
        seen.page.goto(url + "live")
        expect(seen.page.locator("#done")).to_have_text("2 of 3 trials done")
        expect(seen.page.locator("#trials tr")).to_have_count(3)
        assert seen.page.locator("#chart svg path, #chart svg polyline").count() >= 3
        kept.rename(run / "trials/hybrid-s0/measurement.json")
        expect(seen.page.locator("#done")).to_have_text("3 of 3 trials done")
        seen.check()
        context.close()


def test_the_report_from_a_file(browser: Browser, run: Path) -> None:
    page_file = write_report(run)
    context = browser.new_context()
    seen = Watched(context.new_page(), page_file.as_uri())
    seen.page.goto(page_file.as_uri())
    before = seen.page.evaluate("getComputedStyle(document.querySelector('.frames i')).backgroundPosition")
    seen.page.locator("#step").fill("0")
    assert seen.page.evaluate("getComputedStyle(document.querySelector('.frames i')).backgroundPosition") != before
    seen.page.locator("#play").click()
    expect(seen.page.locator("#at")).not_to_have_text("0")
    seen.check()
    context.close()


def test_the_static_export_from_any_host(browser: Browser, run: Path, tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    assert bakeoff("export", run, "--static", tmp_path / "pages" / "below").returncode == 0
    handler = functools.partial(_Quiet, directory=str(tmp_path / "pages"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}/below/"
        context = browser.new_context()
        seen = Watched(context.new_page(), home)
        with flowing(seen.page, "/data/"):
            seen.page.goto(home)
        with flowing(seen.page, "/data/5-0.json"):
            seen.page.locator("body").press("5")
        assert len(set(panes(seen.page))) == 3
        expect(seen.page.locator("header nav")).to_be_hidden()
        seen.check()
        context.close()
        _chosen_meanwhile(browser, home)
        server.shutdown()


def _chosen_meanwhile(browser: Browser, home: str) -> None:
    """The first flow is followed by its own samples, though another label has been chosen and waits to begin."""
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.install()  # now the page's timers wait for run_for: 60 ms a step, 200 before samples, 120 for a choice
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)
    with page.expect_response(lambda answer: "/data/" in answer.url):
        page.goto(home)
    while not re.match(r"step (\d+) of \1$", page.locator("#at").text_content() or ""):
        page.clock.run_for(60)
    page.clock.run_for(130)
    page.locator("body").press("5")
    page.clock.run_for(100)  # at least 230 ms after the flow's end, 100 after the choice
    expect(page.locator("#strips-note")).to_contain_text("samples a backbone")
    assert not [url for url in asked if url.endswith("/data/5-0.json")]
    with page.expect_request(re.compile("/data/5-0.json")):
        page.clock.run_for(30)
    context.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass
