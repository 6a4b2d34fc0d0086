"""What the official scorers reckon, written as slowly and plainly as they are, and data sets to try it on.

One thing is ours: a question without a prediction scores 0 and counts in every total, where the scripts leave it
out or fail.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

SQUAD_PREDICTIONS = (
    ("xquad.en.bert-ensemble", "xquad.en"),
    ("xquad.en.v2.dev", "xquad.en.v2.dev"),
    ("policyqa.dev", "policyqa.dev"),
    ("policyqa.v2.dev", "policyqa.v2.dev"),
)
"""The predictions in the shared folder that the official SQuAD script has scored, and their data."""

Rule = Callable[[str, Sequence[str]], tuple[float, float]]

MLQA_ARTICLES = {
    "en": ["a", "an", "the"],
    "es": ["un", "una", "unos", "unas", "el", "la", "los", "las"],
    "de": ["ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"],
    "vi": ["của", "là", "cái", "chiếc", "những"],
}


def squad_normal(text: str) -> str:
    text = text.lower()
    text = "".join(character for character in text if character not in string.punctuation)
    text = re.sub(r"\b(a|an|the)\b", " ", text)
    return " ".join(text.split())


def mlqa_normal(text: str, language: str) -> str:
    kept = ""
    for character in text.lower():
        if character not in string.punctuation and unicodedata.category(character)[0] != "P":
            kept += character
    if language in MLQA_ARTICLES:
        kept = re.sub(r"\b(" + "|".join(MLQA_ARTICLES[language]) + r")\b", " ", kept)
    if language == "ar":
        kept = kept.replace("ال", " ")
    tokens = []
    word = ""
    for character in kept:
        if language == "zh" and "\u4e00" <= character <= "\u9fa5":
            tokens += [*word.split(), character]
            word = ""
        else:
            word += character
    tokens += word.split()
    return " ".join(tokens)


def bag_f1(predicted: list[str], gold: list[str]) -> float:
    common = sum((Counter(predicted) & Counter(gold)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def squad_rule(prediction: str, golds: Sequence[str]) -> tuple[float, float]:
    exact, f1 = [], []
    for gold in [gold for gold in golds if squad_normal(gold)] or [""]:
        predicted_tokens, gold_tokens = squad_normal(prediction).split(), squad_normal(gold).split()
        exact.append(float(squad_normal(prediction) == squad_normal(gold)))
        if not predicted_tokens or not gold_tokens:
            f1.append(float(predicted_tokens == gold_tokens))
        else:
            f1.append(bag_f1(predicted_tokens, gold_tokens))
    return max(exact), max(f1)


def mlqa_rule(prediction: str, golds: Sequence[str], language: str) -> tuple[float, float]:
    predicted = mlqa_normal(prediction, language)
    if not golds:
        return float(predicted == ""), float(predicted == "")
    exact, f1 = [], []
    for gold in golds:
        exact.append(float(predicted == mlqa_normal(gold, language)))
        f1.append(bag_f1(predicted.split(), mlqa_normal(gold, language).split()))
    return max(exact), max(f1)


def squad_v1_rule(prediction: str, golds: Sequence[str]) -> tuple[float, float]:
    predicted = squad_normal(prediction)
    if not golds:
        return float(predicted == ""), float(predicted == "")
    exact, f1 = [], []
    for gold in golds:
        exact.append(float(predicted == squad_normal(gold)))
        f1.append(bag_f1(predicted.split(), squad_normal(gold).split()))
    return max(exact), max(f1)


def figures(
    golds: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    na_probs: Mapping[str, float] | None,
    threshold: float,
    rule: Rule,
) -> dict[str, float]:
    """All that the script of SQuAD 2.0 prints, `pr_*` too."""
    exact_raw, f1_raw = {}, {}
    for key in golds:
        if key in predictions:
            exact_raw[key], f1_raw[key] = rule(predictions[key], golds[key])

    found: dict[str, float] = {}
    answerable = [key for key in golds if golds[key]]
    unanswerable = [key for key in golds if not golds[key]]
    for prefix, keys in (("", list(golds)), ("HasAns_", answerable), ("NoAns_", unanswerable)):
        if keys:
            for name, raw in (("exact", exact_raw), ("f1", f1_raw)):
                total = 0.0
                for key in keys:
                    if key in raw and na_probs is not None and na_probs[key] > threshold:
                        total += not golds[key]
                    elif key in raw:
                        total += raw[key]
                found[f"{prefix}{name}"] = 100.0 * total / len(keys)
            found[f"{prefix}total"] = len(keys)
    if len(exact_raw) < len(golds):
        found["missing"] = len(golds) - len(exact_raw)
    if na_probs is None:
        return found

    for name, raw in (("exact", exact_raw), ("f1", f1_raw)):
        best, best_threshold = _best(golds, predictions, raw, na_probs)
        found[f"best_{name}"], found[f"best_{name}_thresh"] = best, best_threshold
    if answerable:
        oracle = {key: float(bool(golds[key])) for key in exact_raw}
        for name, raw in (("exact", exact_raw), ("f1", f1_raw), ("oracle", oracle)):
            found[f"pr_{name}_ap"] = _average_precision(golds, raw, na_probs)
    return found


def _best(
    golds: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    raw: Mapping[str, float],
    na_probs: Mapping[str, float],
) -> tuple[float, float]:
    current = float(sum(1 for key in raw if not golds[key]))
    best, best_threshold = current, 0.0
    for key in sorted(na_probs, key=lambda key: na_probs[key]):
        if key not in raw:
            continue
        if golds[key]:
            current += raw[key]
        elif predictions[key]:
            current -= 1
        if current > best:
            best, best_threshold = current, na_probs[key]
    return 100.0 * best / len(golds), best_threshold


def _average_precision(
    golds: Mapping[str, Sequence[str]], raw: Mapping[str, float], na_probs: Mapping[str, float]
) -> float:
    keys = [key for key in sorted(na_probs, key=lambda key: na_probs[key]) if key in raw]
    true_positives = average = last_recall = 0.0
    for place, key in enumerate(keys):
        if golds[key]:
            true_positives += raw[key]
        precision = true_positives / (place + 1)
        recall = true_positives / sum(1 for answers in golds.values() if answers)
        if place == len(keys) - 1 or na_probs[key] != na_probs[keys[place + 1]]:
            average += precision * (recall - last_recall)
            last_recall = recall
    return 100.0 * average


def read_golds(path: Path) -> dict[str, list[str]]:
    """The golds of SQuAD JSON by id."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    return {
        qa["id"]: [answer["text"] for answer in qa["answers"]]
        for article in articles
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }


class DataSet(NamedTuple):
    """What there is to score. Predictions may be missing, and both files may hold other questions."""

    golds: dict[str, list[str]]
    predictions: dict[str, str]
    na_probs: dict[str, float]
    threshold: float


# Words that normalise to nothing or nearly so, that hold articles, punctuation of many scripts, white space and
# control characters, change their length in lower case, or are no whole characters.
WORDS = (
    *("x", "y", "red", "Red", "42", "a", "An", "the", "THE", "theme", "the\u0301", "\u0301", "un", "La", "der", "Das"),
    *(
        "của",
        "là",
        "Những",
        "ال",
        "البيت",
        "سال",
        "里",
        "中文",
        "龥",
        "龦",
        "हिन्दी",
        "।",
        "x।",
        "،",
        "؟",
        "。",
        "「x」",
    ),
    *("«the»", "“a”", "l’an", "d'x", "the-x", "x_the", "_", "¿", "—", "…", "$", "+", "^", "€", "№", "..."),
    *("İ", "ß", "ΑΣ", "Σ", "ǅ", "\x00the", "\x1cthe", "\x85", "\u00a0", "\u3000", "\u2028", "\u200b", "\ud800", "😀"),
)


def texts() -> st.SearchStrategy[str]:
    """Texts of tricky words, and any texts at all."""
    gaps = st.sampled_from(["", " ", " ", " ", "  ", "\t", "\n", "."])
    pieces = st.lists(st.tuples(gaps, st.sampled_from(WORDS)), max_size=5)
    return pieces.map(lambda drawn: "".join(gap + word for gap, word in drawn)) | st.text(max_size=12)


@st.composite
def data_sets(draw: st.DrawFn) -> DataSet:
    """A few questions: all answerable, none, or some; few distinct texts and probabilities, so that many are equal."""
    few = st.sampled_from(draw(st.lists(texts(), min_size=1, max_size=4)))
    least, most = draw(st.sampled_from([(0, 2), (1, 3), (0, 0)]))
    keys = [f"q{number}" for number in range(draw(st.integers(1, 8)))]
    golds = {key: draw(st.lists(few, min_size=least, max_size=most)) for key in keys}
    answered = draw(st.lists(st.sampled_from([*keys, "other"]), unique=True)) if draw(st.booleans()) else keys
    na_probs = st.sampled_from([0, 0.0, 0.25, 0.5, 0.5 + 2**-53, 1e-300, 1.0])
    return DataSet(
        golds,
        {key: draw(few | st.just("")) for key in answered},
        {key: draw(na_probs) for key in draw(st.permutations([*keys, "another"]))},
        draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    )
