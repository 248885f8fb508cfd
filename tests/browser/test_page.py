"""The page of `pqmim serve` in a real browser, with the real codec: `make test-browser` installs what this needs."""

import os
import re
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
WAIT = 240_000  # milliseconds for a picture, on a busy machine
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: `make test-browser` says how to get it"),
]
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see `make test-browser`")
uvicorn = pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def address():
    from pqmim import Codec
    from pqmim.integrations.serve import make_app

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(make_app(Codec()), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if is_trouble(message) else None)
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    yield page
    assert troubles == []
    context.close()


def is_trouble(message) -> bool:
    """An answer of 4xx is told by the page itself."""
    return message.type == "error" and "Failed to load resource" not in message.text


def settled(page) -> str:
    """The words under the picture, once nothing goes on any more."""
    page.wait_for_timeout(400)
    page.wait_for_selector("#busy", state="hidden")
    page.wait_for_function("document.getElementById('left').naturalWidth > 0")
    assert page.is_hidden("#error"), page.inner_text("#error")
    return page.inner_text("#facts-left")


def slide(page, name: str, value: int) -> None:
    page.eval_on_selector(
        f"#{name}", "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


def count(words: str) -> int:
    return int(re.match(r"([\d,]+) bytes", words)[1].replace(",", ""))


def test_every_control(page, tmp_path):
    shots = Path(os.environ.get("SCREENSHOTS", tmp_path))
    page.screenshot(path=shots / "1-empty.png")
    page.set_input_files("#file", ROOT / "demo" / "coffee.png")
    words = settled(page)
    assert "dB" in words and page.inner_text("#amount-text") == "quality 50"
    page.screenshot(path=shots / "2-photo.png", full_page=True)

    slide(page, "amount", 20)
    assert count(settled(page)) < count(words)
    page.check("[name=mode][value=size]", force=True)
    slide(page, "amount", 43)
    wanted = count(page.inner_text("#amount-text"))
    assert count(settled(page)) == wanted

    for name in ("webp", "jpeg"):
        page.check(f"[name=against][value={name}]", force=True)
        settled(page)
        beside = page.inner_text("#facts-right")
        assert count(beside) <= wanted or "no smaller file" in beside
    page.screenshot(path=shots / "3-beside.png", full_page=True)
    slide(page, "divider", 250)
    assert page.eval_on_selector("#stage", "stage => stage.style.getPropertyValue('--split')") == "25%"
    if page.is_visible("#look-box"):
        slide(page, "look", 100)
        settled(page)

    slide(page, "arrived", 500)
    assert count(settled(page)) < wanted and "of" in page.inner_text("#arrived-text")
    slide(page, "arrived", 1000)
    settled(page)

    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "coffee.pqm"
    assert Path(download.value.path()).stat().st_size == wanted

    page.click("#code")
    page.wait_for_selector("#qr", state="visible")
    page.screenshot(path=shots / "4-qr.png", full_page=True)

    page.click("#share")
    page.wait_for_function("location.hash.length > 100")
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.reload()
    page.wait_for_selector("#work", state="visible")
    assert count(settled(page)) == wanted
    assert not any("#" in url for url in requests)  # the fragment stays here


def test_watching_it_arrive(page):
    page.set_input_files("#file", next(ROOT.glob("tests/golden/*-60-bytes.pqm")))
    settled(page)
    page.click("#watch")
    page.wait_for_selector("#watch:not([disabled])")
    assert page.inner_text("#arrived-text") == "all bytes"


def test_a_phone(browser, address, tmp_path):
    shots = Path(os.environ.get("SCREENSHOTS", tmp_path))
    context = browser.new_context(viewport={"width": 390, "height": 844}, device_scale_factor=2, color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(address)
    page.set_input_files("#file", ROOT / "demo" / "coffee.png")
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=shots / "5-phone.png", full_page=True)
    context.close()


def test_what_is_no_picture_is_told(page):
    page.set_input_files("#file", ROOT / "LICENSE")
    page.wait_for_selector("#error", state="visible")
    assert page.inner_text("#error")
