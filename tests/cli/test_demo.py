"""The page as a user opens it: a real process, a real browser, and nothing but the keyboard."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qa_lightning import Reader
from qa_lightning.cli.main import main
from tests import forked
from tests.report.chromium import chromium
from tests.tiny import PASSAGES, tiny_folder

SETTINGS = {"max_seq_len": 48, "max_question_len": 12, "doc_stride": 8, "handle_impossible_answer": True, "top_k": 4}
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
CONTEXT = f"😀 {PASSAGES[0][0]}\n{HOSTILE} {PASSAGES[1][0]} {PASSAGES[2][0]}"
QUESTION = "Who wrote <b>the</b> program?"


class Demo:
    """The verb in a process of its own."""

    def __init__(self, folder: Path) -> None:
        flags = [str(part) for name, value in SETTINGS.items() if value is not True for part in (f"--{name}", value)]
        named = ["-m", "qa_lightning", "demo", "--model", folder]
        self.process = forked.Forked([*named, "--port", "0", "--no_browser", "--handle_impossible_answer", *flags])
        assert self.process.stdout is not None
        match = re.search(r"http://127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        assert match is not None, self.process.communicate()
        self.url, self.port = match[0], int(match[1])


class Page:
    """The page, with all that it complained of or asked for."""

    def __init__(self, browser: Any, url: str, width: int, scheme: str = "light") -> None:
        self.url = url
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def press(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            self.page.keyboard.press(key)

    def tab_to(self, selector: str) -> None:
        for _ in range(30):
            if self.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
            self.press("Tab")
        raise AssertionError(f"{selector} cannot be reached by keyboard")

    def ask(self, question: str, context: str) -> None:
        """Types and asks; the page waits in the context."""
        self.page.keyboard.insert_text(context)
        self.press("Tab")
        self.page.keyboard.insert_text(question)
        self.press("Enter")
        self.page.wait_for_selector("#picture svg")

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).evaluate_all("found => found.map(one => one.textContent)")

    def marked(self) -> tuple[int, str]:
        """Where the highlight begins, in characters of the context, and what it holds."""
        before, text = self.page.evaluate(
            """() => {
                const mark = document.querySelector("#shown mark");
                const range = document.createRange();
                range.setStart(document.getElementById("shown"), 0);
                range.setEndBefore(mark);
                return [range.toString(), mark.textContent];
            }"""
        )
        return len(before), text

    def overflows(self) -> bool:
        width, room = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        return width > room


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model") / "small <i>model")


@pytest.fixture(scope="module")
def demo(folder: Path) -> Iterator[Demo]:
    found = Demo(folder)
    yield found
    found.process.kill()
    found.process.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Any, demo: Demo) -> Iterator[Page]:
    found = Page(browser, demo.url, getattr(request, "param", 1280))
    yield found
    assert found.complaints == []
    assert all(url.startswith(demo.url) for url in found.requests)
    found.page.close()


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[dict[str, Any]]:
    return Reader.from_pretrained(folder, **SETTINGS)(question=QUESTION, context=CONTEXT)


@pytest.mark.slow
@pytest.mark.parametrize("page", [1280, 360], indirect=True)
def test_asking_by_keyboard_alone(page: Page, expected: list[dict[str, Any]]) -> None:
    assert page.page.title() == "Ask small <i>model"
    page.ask(QUESTION, CONTEXT)
    # The hostile text is shown, and is but text.
    assert page.texts("#shown") == [CONTEXT]
    assert page.page.locator("#result img, #result script, #result b").count() == 0
    assert page.page.title() == "Ask small <i>model"

    assert page.texts("#candidates .text") == [answer["answer"] or "no answer" for answer in expected]
    assert page.texts("#candidates td.score") == [f"{100 * answer['score']:.1f} %" for answer in expected]
    assert re.fullmatch(r"Probability that the text holds no answer: [\d.]+ %", page.texts("#null")[0])
    spans = [(place, answer) for place, answer in enumerate(expected) if answer["answer"]]
    page.tab_to("#candidates input")
    here = 0
    for place, answer in spans:
        page.press("ArrowDown", place - here)
        here = place
        assert page.marked() == (answer["start"], answer["answer"])
    assert not page.overflows()


@pytest.mark.slow
def test_the_picture_shows_and_describes_where_the_answer_may_be(page: Page, folder: Path) -> None:
    page.ask(QUESTION, CONTEXT)
    starts = Reader.from_pretrained(folder, **SETTINGS).explain(QUESTION, CONTEXT).tokens.starts
    svg = page.page.locator("#picture svg")
    assert svg.get_attribute("role") == "img"
    best = f"{100 * max(starts):.1f} %"
    label = svg.get_attribute("aria-label")
    assert label.split("Begins: ")[1].split(";")[0].endswith(best)
    assert any(best in text for text in page.texts("#picture .peak"))
    heights = [float(bar.get_attribute("height")) for bar in svg.locator("rect.start").all()]
    assert max(heights) / sum(heights) == pytest.approx(max(starts) / sum(starts), rel=0.1)
    # It is drawn anew for another width, and its text keeps its size.
    page.page.set_viewport_size({"width": 400, "height": 800})
    page.page.locator("svg[viewBox^='0 0 3']").wait_for()
    assert not page.overflows()


@pytest.mark.slow
@pytest.mark.parametrize("page", [360], indirect=True)
def test_an_example_is_filled_in_and_asked_by_one_key(page: Page) -> None:
    page.tab_to("#examples button")
    page.press("Enter")
    page.page.wait_for_selector("#picture svg")
    assert page.page.input_value("#question") == page.texts("#examples button")[0]
    assert page.texts("#shown") == [page.page.input_value("#context")]
    assert not page.overflows()


@pytest.mark.slow
def test_mistakes_are_shown_on_the_page(page: Page) -> None:
    page.press("Control+Enter")
    assert page.texts("#error") == ["Give a context: the text that holds the answer."]
    page.page.keyboard.insert_text("word " * 30_000)
    page.press("Control+Enter")
    assert page.texts("#error") == ["Ask a question."]
    page.page.keyboard.insert_text("Who?")
    page.press("Enter")
    assert page.texts("#error") == ["The context has 150,000 characters; at most 100,000 are read."]
    page.press("Control+A")
    page.page.keyboard.insert_text("Ada wrote.")
    page.press("Control+Enter")
    page.page.wait_for_selector("#picture svg")
    assert not page.page.locator("#error").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser: Any, demo: Demo, scheme: str) -> None:
    page = Page(browser, demo.url, 1280, scheme)
    page.ask(QUESTION, CONTEXT)
    for selector in ("h1", "header .note", "#ask", "#examples button", "#candidates .text", "#null", ".legend"):
        assert page.page.evaluate(CONTRAST, selector) >= 4.5, selector
    page.page.close()


CONTRAST = """(selector) => {
    const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => parts(colour).slice(0, 3).map((value) => value / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
        .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
    let node = document.querySelector(selector);
    const ink = light(getComputedStyle(node).color);
    while (parts(getComputedStyle(node).backgroundColor)[3] === 0) node = node.parentElement;
    const ground = light(getComputedStyle(node).backgroundColor);
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
}"""
"""How far the text of an element stands out from what is behind it (WCAG 2)."""


@pytest.mark.slow
def test_ctrl_c_ends_it_and_frees_the_port(folder: Path) -> None:
    demo = Demo(folder)
    demo.process.send_signal(signal.SIGINT)
    _, errors = demo.process.communicate(timeout=30)
    assert (demo.process.returncode, errors) == (0, "")
    socket.create_server(("127.0.0.1", demo.port)).close()


def test_a_port_that_is_taken_is_refused_before_a_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--model", "none", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1, port {port}" in capsys.readouterr().err


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["demo", "--model", "none"]) == 2
    assert capsys.readouterr().err == "error: uvicorn is not installed: pip install 'qa_lightning[serve]'\n"
