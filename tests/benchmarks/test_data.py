"""Data of SQuAD's shape, real and made."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from benchmarks import data
from qa_lightning.data.sources import read_examples, rows_to_examples


@pytest.fixture(params=["real", "made"])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Three thousand questions: more than two copies of everything."""
    if request.param == "real":
        request.getfixturevalue("shared")
    else:
        monkeypatch.setattr(data, "SHARED", Path("nowhere"))
    return data.squad_shaped(3000)


def test_the_shape_is_squads(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == 3000
    contexts = {row["context"] for row in rows}
    assert len(contexts) == len(list(groupby(rows, lambda row: row["context"])))  # questions of one are neighbours
    assert 4.8 < len(rows) / len(contexts) < 5.1
    words = [len(context.split()) for context in contexts]
    assert 100 < sum(words) / len(words) < 140  # SQuAD's have 117


def test_answers_stand_where_they_should(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert len(row["answers"]["text"]) == len(row["answers"]["answer_start"]) > 0
        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
            assert row["context"][start : start + len(text)] == text


def test_no_copy_repeats_a_text_of_another(rows: list[dict[str, Any]]) -> None:
    assert len({row["id"] for row in rows}) == len(rows)
    first, second, third = ([row for row in rows if row["id"].endswith(f"-{copy}")] for copy in range(3))
    assert len(first) == len(second) > 1000
    for name in ("question", "context"):
        texts = [{row[name] for row in copy} for copy in (first, second, third)]
        assert not texts[0] & texts[1]
        assert not texts[1] & texts[2]
        assert not texts[0] & texts[2]
    assert second[0]["context"] == f"1 {first[0]['context']}"
    assert second[0]["question"] == f"1 {first[0]['question']}"


def test_made_questions_hardly_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SHARED", Path("nowhere"))
    rows = data.squad_shaped(1000)
    assert len({row["question"] for row in rows}) > 950


def test_the_file_holds_the_same_questions(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = data.squad_file(3000, tmp_path)
    assert json.loads(path.read_text(encoding="utf-8"))["version"] == "1.1"
    read = read_examples(split="train", files=str(path), training=True).table
    assert read.equals(rows_to_examples(rows, source="rows").table)


def test_long_contexts_are_asked_about_their_beginning(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = data.squad_file(12, tmp_path, joined=7)
    paragraphs = json.loads(path.read_text(encoding="utf-8"))["data"][0]["paragraphs"]
    asked = [question for paragraph in paragraphs for question in paragraph["qas"]]
    assert len(asked) == 12
    assert [question["question"] for question in asked[:3]] == [row["question"] for row in rows[:3]]
    for paragraph in paragraphs:
        assert 600 < len(paragraph["context"].split()) < 1_200
        for answer in (answer for question in paragraph["qas"] for answer in question["answers"]):
            assert paragraph["context"][answer["answer_start"] :].startswith(answer["text"])


def test_the_first_copy_is_as_published(shared: Path) -> None:
    published = json.loads((shared / "data/xquad.en.json").read_text(encoding="utf-8"))["data"][0]["paragraphs"][0]
    first = data.squad_shaped(3)
    assert [row["question"] for row in first] == [question["question"] for question in published["qas"][:3]]
    assert {row["context"] for row in first} == {published["context"]}


def test_the_tokenizer_is_a_fast_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SHARED", Path("nowhere"))
    assert data.tokenizer().is_fast
    assert data.tokenizer().tokenize("the museum") == ["the", "museum"]


def test_a_tokenizer_may_have_tokens_to_spare() -> None:
    plain, larger = data.tokenizer(), data.tokenizer(70_000)
    assert len(larger) == 70_000
    text = "The museum, unaffable [spare 1]"
    assert larger(text)["input_ids"] == plain(text)["input_ids"]
