"""Debian's Chromium, driven by Playwright: fixtures of the tests that look at pages."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
WHY = "Chromium is not installed (Debian: apt-get install chromium): pages are not looked at"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    # A name of somebody else that leads to this machine, as DNS rebinding makes one.
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless browser."""
    if CHROMIUM is None and "PITCHPIPE_REQUIRE_ALL" not in os.environ:
        pytest.skip(WHY)
    assert CHROMIUM, WHY
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a browser that knows nobody yet."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)  # of 5 s: a busy machine draws MLflow's pages in more
    yield context.new_page()
    context.close()
