import json
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lightning.scoring.mlqa import LANGUAGES, has_own_rule, normalize, score_question
from qa_lightning.scoring.rules import scorer
from qa_lightning.scoring.squad import evaluate
from tests.scoring import reference
from tests.scoring.reference import DataSet, data_sets, read_golds, texts


@pytest.mark.parametrize("language", LANGUAGES)
def test_figures_equal_those_of_the_official_script(shared: Path, language: str) -> None:
    golds = read_golds(shared / f"data/xquad.{language}.json")
    predictions = json.loads((shared / f"golden/xquad.{language}.predictions.json").read_text(encoding="utf-8"))
    official = json.loads((shared / f"golden/xquad.{language}.mlqa-official.json").read_text())
    found = evaluate(golds, predictions, score=scorer(language))
    assert (found["exact"], found["f1"]) == pytest.approx((official["exact_match"], official["f1"]), rel=0, abs=1e-9)


@settings(deadline=None, max_examples=200)
@given(texts(), st.sampled_from([*LANGUAGES, "fr"]))
def test_normalising_equals_the_slow_reference(text: str, language: str) -> None:
    assert normalize(text, language) == reference.mlqa_normal(text, language)


@settings(deadline=None, max_examples=200)
@given(data_sets(), st.sampled_from([*LANGUAGES, "fr"]))
def test_figures_equal_those_of_the_slow_reference(drawn: DataSet, language: str) -> None:
    golds, predictions, na_scores, threshold = drawn
    rule = partial(reference.mlqa_rule, language=language)
    for scores in (None, na_scores):
        slow = reference.figures(golds, predictions, scores, threshold, rule)
        assert evaluate(golds, predictions, scores, threshold, scorer(language)) == pytest.approx(slow, rel=0, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "language", "normal"),
    [
        ("The «Quick»,\tbrown   fox.", "en", "quick brown fox"),
        ("¿La casa? Unos…", "es", "casa"),
        ("Das Haus der Männer", "de", "haus männer"),
        ("البيت الكبير؟", "ar", "بيت كبير"),
        ("السلالم", "ar", "سل م"),  # also within a word
        ("भारत का, दिल।", "hi", "भारत का दिल"),
        ("Cái nhà của tôi là…", "vi", "nhà tôi"),
        ("在1990年, new york。", "zh", "在 1990 年 new york"),
        ("㐀㐁一龥龦龧", "zh", "㐀㐁 一 龥 龦龧"),  # the script parts U+4E00 to U+9FA5, and what stands beside them
        ("里", "en", "里"),
        ("The «chat», l'un", "fr", "the chat lun"),  # no articles
        ("a + b = $5", "en", "b 5"),  # ASCII's symbols go too ...
        ("a € b", "en", "€ b"),  # ... others stay
        ("…", "en", ""),
    ],
)
def test_normalize(text: str, language: str, normal: str) -> None:
    assert normalize(text, language) == normal


@pytest.mark.parametrize("language", reference.MLQA_ARTICLES)
def test_all_articles_of_a_language_go_and_no_others(language: str) -> None:
    articles = [article for listed in reference.MLQA_ARTICLES.values() for article in listed]
    kept = {article for article in articles if normalize(f"x {article} y", language) != "x y"}
    assert set(articles) - kept == set(reference.MLQA_ARTICLES[language])


@pytest.mark.parametrize(
    ("prediction", "golds", "language", "em", "f1"),
    [
        ("das Haus!", ["ein Haus"], "de", 1, 1),
        ("the house", ["house"], "de", 0, 2 / 3),
        ("北京市", ["北京"], "zh", 0, 0.8),
        ("b b b", ["b b c c"], "en", 0, 4 / 7),
        ("x", ["y", "x z"], "en", 0, 2 / 3),
        ("", ["x"], "en", 0, 0),
        ("the", ["x", "…"], "en", 1, 0),  # the script gives no F1 where nothing is left
        ("x", ["…"], "en", 0, 0),
        ("", [], "en", 1, 1),
        ("the…", [], "en", 1, 1),
        ("x", [], "en", 0, 0),
    ],
)
def test_score_question(prediction: str, golds: list[str], language: str, em: float, f1: float) -> None:
    assert score_question(prediction, golds, language) == (em, pytest.approx(f1, abs=1e-15))


@pytest.mark.parametrize(
    ("language", "known"), [(None, True), ("vi", True), ("VI", True), ("fr", False), ("vi-VN", False), ("", False)]
)
def test_whether_a_language_has_a_rule(language: str | None, known: bool) -> None:
    assert has_own_rule(language) is known
