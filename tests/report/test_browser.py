"""The page in a browser: what a reader does with it, offline, without an error and without a request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.records import Prediction
from qa_lightning.report.page import write_page
from tests.report.chromium import chromium
from tests.report.runs import CONTEXT, EMOJI, HOSTILE, answered, some, table

pytestmark = pytest.mark.slow

METRICS = {"f1": 61.11, "exact_match": 50.0, "null_score_diff_threshold": 0.0, "best_f1": 61.11, "best_f1_thresh": -1.5}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


class Reader:
    """A page that was opened from a file, with all that it complained of or asked for."""

    def __init__(self, browser: Any, folder: Path, predictions: list[Prediction], name: str = "run") -> None:
        path = folder / "report.html"
        write_page(path, name, table(predictions), METRICS, {})
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.url = path.as_uri()

    def asked_for_nothing(self) -> bool:
        return self.complaints == [] and self.requests == [self.url]

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).evaluate_all("found => found.map(element => element.textContent)")

    def questions(self) -> list[str]:
        return self.texts("#list .question")

    def choose(self, outcome: str) -> None:
        self.page.get_by_role("button", name=re.compile(f"^{outcome} ?[0-9]")).click()

    def sort(self, order: str) -> None:
        self.page.get_by_label("Sort").select_option(label=order)

    def search(self, text: str) -> None:
        self.page.get_by_label("Search").fill(text)

    def open(self, number: int) -> None:
        self.page.locator("#list button").nth(number).click()

    def marked(self, kind: str) -> str:
        """All that is highlighted as gold or as predicted, piece after piece."""
        return "".join(self.texts(f"#detail mark.{kind}:not(.legend *)"))

    def overflows(self) -> bool:
        width, room = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        return width > room


@pytest.fixture
def reader(browser: Any, tmp_path: Path) -> Iterator[Reader]:
    found = Reader(browser, tmp_path, some())
    yield found
    assert found.asked_for_nothing(), (found.complaints, found.requests)
    found.page.close()


def test_everything_is_shown_and_nothing_asked_for(reader: Reader) -> None:
    page = reader.page
    assert page.title() == "run"
    assert page.locator("figure svg").count() == 9
    assert all(box["width"] > 200 for box in (figure.bounding_box() for figure in page.locator("figure svg").all()))
    assert len(reader.questions()) == 6
    assert reader.texts("#filters button") == [
        *("all6", "right2", "partly right1", "wrong1", "false null1", "false answer1")
    ]
    assert page.locator("#detail h3").text_content() == "Who wrote the program?"


@pytest.mark.parametrize(
    ("outcome", "found"),
    [
        ("right", ["Who wrote the program?", "When?"]),
        ("partly right", ["Where?"]),
        ("wrong", ["What did Grace build?"]),
        ("false null", ["In which city?"]),
        ("false answer", ["How many?"]),
    ],
)
def test_filtering(reader: Reader, outcome: str, found: list[str]) -> None:
    reader.choose(outcome)
    assert reader.questions() == found
    assert reader.texts("#filters [aria-pressed=true]") == [f"{outcome}{len(found)}"]
    reader.choose("all")
    assert len(reader.questions()) == 6


def test_sorting(reader: Reader) -> None:
    reader.sort("F1, lowest first")
    assert reader.texts("#list .figure") == ["F1 0", "F1 0", "F1 0", "F1 67", "F1 100", "F1 100"]
    assert reader.questions()[0] == "What did Grace build?"  # of equals, the data's first
    reader.sort("F1, highest first")
    assert reader.texts("#list .figure") == ["F1 100", "F1 100", "F1 67", "F1 0", "F1 0", "F1 0"]
    reader.sort("in the data's order")
    assert reader.questions()[0] == "Who wrote the program?"


@pytest.mark.parametrize("what", ["probability", "score"])
def test_sorting_leaves_what_has_no_figure_to_the_end(browser: Any, tmp_path: Path, what: str) -> None:
    predictions = [
        answered(0, ["Ada"], "", "Ada", question="none"),
        answered(1, ["Ada"], "Ada", question="low", probabilities=[0.2]),
        answered(2, ["Ada"], "Ada", question="high", probabilities=[0.9]),
    ]
    predictions[0].answers = predictions[0].answers[:0]
    reader = Reader(browser, tmp_path, predictions)
    reader.sort(f"{what}, lowest first")
    assert reader.questions() == ["low", "high", "none"]
    reader.sort(f"{what}, highest first")
    assert reader.questions() == ["high", "low", "none"]
    assert reader.asked_for_nothing()


def test_searching(browser: Any, tmp_path: Path) -> None:
    predictions = [
        answered(0, ["Ada"], "Grace", name="first-id", question="Who?"),
        answered(1, ["nowhere"], "Ada", context=EMOJI, question="Trần Hưng Đạo?"),
    ]
    reader = Reader(browser, tmp_path, predictions)
    for text, found in (
        ("FIRST-", ["Who?"]),
        ("hưng", ["Trần Hưng Đạo?"]),
        ("hu\u031bng", ["Trần Hưng Đạo?"]),  # the same letters, typed as a letter and a mark
        ("compiler in", ["Who?"]),
        ("nowhere", ["Trần Hưng Đạo?"]),
        (" ada ", ["Who?", "Trần Hưng Đạo?"]),
        ("nothing like this", []),
    ):
        reader.search(text)
        assert reader.questions() == found, text
    assert reader.texts("#count") == ["No question matches."]
    reader.search("")
    assert reader.texts("#count") == ["2 questions"]
    assert reader.asked_for_nothing()


def test_a_question_is_shown_with_both_spans(reader: Reader) -> None:
    reader.choose("partly right")
    reader.open(0)
    assert reader.texts("#detail h3") == ["Where?"]
    assert reader.texts("#detail .context") == [CONTEXT]
    assert reader.marked("gold") == "London"
    assert reader.marked("predicted") == "in London"
    assert reader.texts("#detail .context mark") == ["in ", "London"]
    assert reader.texts("#detail .prediction") == ["in London"]
    assert reader.texts("#detail .golds") == ["London"]
    assert reader.texts("#detail .nbest .text") == ["answer", "in London", "Paris", "no answer"]
    assert reader.texts("#detail .nbest .share") == ["probability", "70.0 %", "20.0 %", "10.0 %"]
    assert reader.texts("#detail .figures dd") == ["0", "66.67", "70.0 %", "1.40", "−2.00", "where", "2"]


def test_gold_and_predicted_look_different_without_colour(reader: Reader) -> None:
    reader.choose("wrong")
    reader.open(0)
    gold, predicted = (
        reader.page.locator(f"#detail .context mark.{kind}").evaluate(
            "element => [getComputedStyle(element).textDecorationLine, getComputedStyle(element).borderBottomStyle]"
        )
        for kind in ("gold", "predicted")
    )
    assert (gold, predicted) == (["underline", "none"], ["none", "dashed"])


def test_spans_behind_and_around_emoji_are_highlighted_where_they_are(browser: Any, tmp_path: Path) -> None:
    predictions = [answered(0, ["wrote the first", "Ada"], "Ada 👩‍💻 wrote", "London", context=EMOJI)]
    reader = Reader(browser, tmp_path, predictions)
    reader.open(0)
    assert reader.texts("#detail .context mark.gold") == ["Ada", "wrote", " the first"]
    assert reader.marked("predicted") == "Ada 👩‍💻 wrote"
    assert reader.texts("#detail .nbest td.text") == ["Ada 👩‍💻 wrote", "London"]
    assert reader.texts("#detail .context") == [EMOJI]
    assert reader.asked_for_nothing()


def test_no_answer_looks_different_from_an_answer_that_says_so(reader: Reader) -> None:
    reader.choose("false null")
    reader.open(0)
    assert reader.texts("#detail .prediction .none") == ["no answer"]
    assert reader.marked("predicted") == ""
    assert reader.marked("gold") == "Paris"


def test_hostile_text_is_text(browser: Any, tmp_path: Path) -> None:
    context = f"{HOSTILE} Ada"
    prediction = answered(0, [HOSTILE], HOSTILE, context=context, question=HOSTILE, name=HOSTILE)
    reader = Reader(browser, tmp_path, [prediction], name=HOSTILE)
    reader.open(0)
    assert reader.texts("#detail h3") == [HOSTILE]
    assert reader.texts("#detail .context") == [context]
    assert reader.texts("#detail .id") == [HOSTILE]
    assert reader.texts("h1") == [HOSTILE]
    assert reader.marked("predicted") == HOSTILE
    assert reader.page.evaluate("window.hacked") is None
    assert reader.page.locator("img").count() == 0
    reader.page.set_viewport_size({"width": 360, "height": 740})
    assert not reader.overflows()
    assert reader.asked_for_nothing()


def test_pages_of_fifty_and_the_keyboard(browser: Any, tmp_path: Path) -> None:
    predictions = [answered(row, ["Ada"], "Ada", question=f"Question {row}?") for row in range(120)]
    reader = Reader(browser, tmp_path, predictions)
    page = reader.page
    assert page.get_by_role("button", name="Previous").is_disabled()
    page.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    assert reader.texts("#page") == ["page 3 of 3"]
    assert reader.questions() == [f"Question {row}?" for row in range(100, 120)]
    assert page.get_by_role("button", name="Next").is_disabled()
    # The list's first question has the focus: arrows walk, Enter opens, Escape goes back.
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert reader.texts("#detail h3") == ["Question 101?"]
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.querySelector('.question').textContent") == "Question 101?"
    reader.search("Question 7?")
    assert reader.texts("#page") == ["page 1 of 1"]
    assert reader.asked_for_nothing()


def test_on_a_phone_the_text_of_charts_is_legible(reader: Reader) -> None:
    reader.page.set_viewport_size({"width": 390, "height": 844})
    sizes = reader.page.locator("figure svg text").evaluate_all(
        """found => found.map((text) => {
          const { a, b } = text.getScreenCTM();
          return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(a, b);
        })"""
    )
    assert len(sizes) > 100
    assert min(sizes) >= 12


def test_on_a_narrow_screen_nothing_is_cut_off(browser: Any, tmp_path: Path) -> None:
    long = "a" * 300
    predictions = [
        *some(),
        answered(6, [long], long, context=f"{long} end", question=f"Why {long}?", name=long, null_odds=0.0),
    ]
    reader = Reader(browser, tmp_path, predictions, name=long)
    reader.page.set_viewport_size({"width": 360, "height": 740})
    assert not reader.overflows()
    assert not reader.page.locator("#detail").is_visible()
    for summary in reader.page.locator("figure summary").all():
        summary.click()
    assert not reader.overflows()
    reader.open(6)
    assert not reader.overflows()
    assert not reader.page.locator("#list").is_visible()
    reader.page.get_by_role("button", name="Back to the list").click()
    assert reader.page.locator("#list").is_visible()
    assert reader.asked_for_nothing()


def test_every_control_has_a_name(reader: Reader) -> None:
    named = reader.page.locator("input, select").evaluate_all("found => found.map(element => element.labels.length)")
    assert named == [1, 1]
    assert all(name for name in reader.texts("button"))
    assert reader.page.locator("figure [role=img][aria-label]").count() == 9


@pytest.mark.parametrize(("ci", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_browser_fails_under_ci_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="needs a browser"), chromium():
        pass


def test_a_page_without_questions_opens(browser: Any, tmp_path: Path) -> None:
    reader = Reader(browser, tmp_path, [])
    assert reader.texts("#count") == ["No question matches."]
    assert reader.asked_for_nothing()
