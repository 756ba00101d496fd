"""The flow page takes any kind and any controls: made-up exports, whose words and cells are no task's of today."""

import base64
import functools
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from bakeoff.studio.controls import Number, OneOf
from bakeoff.studio.export import write_pages

STEPS = 2
NOISE = {**Number(key="noise", title="Prompt", type="noise", low=0, high=1, default=0).describe(), "values": [0]}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def page_of(
    browser: Browser, out: Path, info: dict, frames: list[dict], strip: list[dict], **window: Any
) -> Iterator[Page]:
    """The page of one backbone whose flow is these cells."""
    name = "mine"
    described = {
        "name": "toy",
        "description": "",
        "headline": "",
        "complete": True,
        "deviations": [],
        "note": "",
        **info,
    }
    out.mkdir()
    write_pages(out, {**described, "backbones": [{"name": name, "params": 12_000, "trained": [0]}]})
    label = next((one["default"] for one in info["controls"] if one["key"] == "label"), "any")
    cost = {"nfe": STEPS, "ms": 1.0}
    events = [
        ("start", {"backbones": [name], "steps": STEPS}),
        *(("frame", {"backbone": name, "step": step, "cell": cell}) for step, cell in enumerate(frames)),
        ("done", {"backbone": name, **cost}),
        ("strip", {"backbone": name, "cells": strip, **cost}),
        ("end", {}),
    ]
    (out / "data" / f"{label}-0.json").write_text(json.dumps(events))
    complaints: list[str] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(out))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context(**window)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        yield page
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0 and not complaints
        context.close()
        server.shutdown()


def whole(page: Page, strip: list[dict]) -> None:
    """Wait for the flow, and for its strips."""
    expect(page.locator("#at")).to_have_text(f"step {STEPS} of {STEPS}")
    expect(page.locator("#strips-note")).to_contain_text(f"{len(strip)} samples")


def image(pixels_HWC: np.ndarray) -> dict:
    height, width, channels = pixels_HWC.shape
    data = base64.b64encode(pixels_HWC.tobytes()).decode()
    return {"kind": "images", "width": width, "height": height, "channels": channels, "data": data}


DRAWN = """(canvas) => [canvas.width, canvas.height,
  ...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colour_images_of_any_size_are_shown_as_they_are(browser: Browser, tmp_path: Path, scheme: str) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (STEPS + 1 + 4, 5, 8, 3), dtype=np.uint8)
    label = OneOf(key="label", title="Animal", type="choice", values=("cat", "dog"), default="dog", keys=("1", "2"))
    temperature = Number(key="temperature", title="Temperature", low=0, high=2, step=0.1, default=1.5, why="Recorded.")
    info = {"item": "animal", "start": "seed", "controls": [NOISE, label.describe(), temperature.describe()]}
    cells = [image(one) for one in drawn]
    window = {"color_scheme": scheme, "viewport": {"width": 1280, "height": 900}}
    with page_of(browser, tmp_path / "out", info, cells[: STEPS + 1], cells[STEPS + 1 :], **window) as page:
        whole(page, cells[STEPS + 1 :])
        width, height, *shown = page.locator("#panes .large canvas").evaluate(DRAWN)
        assert (width, height) == (8, 5)
        rgba = np.array(shown).reshape(5, 8, 4)
        assert np.array_equal(rgba[..., :3], drawn[STEPS]) and (rgba[..., 3] == 255).all()
        page.keyboard.press("Home")
        expect(page.locator("#at")).to_have_text(f"step 0 of {STEPS}")
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        shown = page.locator("#panes .large canvas").evaluate(DRAWN)[2:]
        assert np.array_equal(np.array(shown).reshape(5, 8, 4)[..., :3], drawn[0])

        columns = page.locator("#strips canvas").evaluate("(canvas) => (canvas.width + 1) / 9")
        sheet = np.array(page.locator("#strips canvas").evaluate(DRAWN)[2:]).reshape(-1, int(columns) * 9 - 1, 4)
        for place, one in enumerate(drawn[STEPS + 1 :]):
            y, x = 6 * (place // int(columns)), 9 * (place % int(columns))
            assert np.array_equal(sheet[y : y + 5, x : x + 8, :3], one)

        assert page.locator("#label input").evaluate_all("all => all.map((one) => one.value)") == ["cat", "dog"]
        assert page.locator("#label input:checked").input_value() == "dog"
        expect(page.locator("#temperature")).to_have_value("1.5")
        expect(page.locator("#temperature")).to_be_disabled()
        expect(page.locator("#controls")).to_contain_text("Recorded.")
        expect(page.locator("#more summary")).to_have_text("Temperature")
        name = page.locator("#panes .large canvas").get_attribute("aria-label")
        assert name == "Animal dog under mine at step 0 of 2"
        assert "digit" not in page.content().lower()


@pytest.mark.parametrize("width", [1280, 360])
def test_text_is_typed_out_and_judged_when_it_is_finished(browser: Browser, tmp_path: Path, width: int) -> None:
    def cell(made: str, truth: str | None = "12", right: bool | None = False) -> dict:
        return {"kind": "text", "input": "7 + 5 = ", "text": made, "truth": truth, "right": right}

    frames = [cell(""), cell("1"), cell("12", right=True)]
    strip = [cell("12", right=True), cell("13"), cell("a" * 300, truth=None), cell("<b>", right=None)]
    info = {"item": "answer", "start": "prompt", "controls": [NOISE]}
    window = {"viewport": {"width": width, "height": 800}}
    with page_of(browser, tmp_path / "out", info, frames, strip, **window) as page:
        whole(page, strip)
        large = page.locator("#panes .large")
        expect(large).to_have_text("7 + 5 = 12 ✓ right")
        page.keyboard.press("ArrowLeft")
        expect(large).to_have_text("7 + 5 = 1")  # on its way, it is neither right nor wrong
        page.keyboard.press("Home")
        expect(large).to_have_text("7 + 5 = ")
        samples = page.locator("#strips .text")
        assert samples.all_inner_texts()[:2] == ["7 + 5 = 12 ✓ right", "7 + 5 = 13 ✗ wrong: 12"]
        expect(samples.nth(2)).to_contain_text("✗ wrong")
        expect(samples.nth(3)).to_have_text("7 + 5 = <b>")
        expect(page.locator("h1")).to_have_text("One prompt, 1 backbone")
        assert page.locator("#label, #more:visible").count() == 0
        assert page.locator("canvas:visible").count() == 0


@pytest.mark.parametrize("length", [8, 256])
def test_where_much_is_asked_the_answers_stand_alone(browser: Browser, tmp_path: Path, length: int) -> None:
    def cell(answers: list[int]) -> dict:
        tokens, truth = [1] * length, [t % 2 for t in range(1, length + 1)]
        return {"kind": "answers", "tokens": tokens, "marks": [3] * length, "answers": answers, "truth": truth}

    open_, wrong = cell([-1] * length), cell([1] * length)
    info = {"item": "sequence", "start": "sequence", "controls": [NOISE]}
    window = {"viewport": {"width": 1280, "height": 800}}
    with page_of(browser, tmp_path / "out", info, [open_, wrong, wrong], [wrong] * 2, **window) as page:
        whole(page, [wrong] * 2)
        first, second = page.locator("#panes .large .asked").all()[:2]
        assert page.locator("#panes .large .asked").count() == length
        expect(page.locator("#panes .large")).to_contain_text(f"{length // 2} of {length} answers right")
        expect(first).to_have_text("1" if length > 64 else "1 → 1 ✓")
        expect(second).to_have_text("1✗" if length > 64 else "1 → 1 ✗ 0")
        assert second.get_attribute("title") == ("2: 1 → 1 ✗ 0" if length > 64 else None)
        page.keyboard.press("Home")
        expect(first).to_have_text("1" if length > 64 else "1 → ?")


def test_a_kind_that_the_page_cannot_show_is_named(browser: Browser, tmp_path: Path) -> None:
    info = {"item": "shape", "start": "noise", "controls": [NOISE]}
    with page_of(browser, tmp_path / "out", info, [{"kind": "holograms"}], []) as page:
        expect(page.get_by_role("alert").first).to_have_text("This page cannot show holograms.")
