"""A browser for tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def chromium() -> Iterator[Any]:
    """Chromium without a window, as playwright drives it.

    Where it is missing, a test fails under CI, and elsewhere skips.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"needs a browser: one of {', '.join(names)} on the path"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class OfflinePage:
    """A page in a tab of its own, with all that it complained of and asked for.

    Args:
        browser: What `chromium` gave.
        url: The page's address.
        width: The window's width in pixels.
    """

    def __init__(self, browser: Any, url: str, width: int) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 844})
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)
