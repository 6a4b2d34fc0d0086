"""The former pipeline's answers, all that were kept of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qa_lightning import Reader
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.question_windows import make_windows
from qa_lightning.reader.settings import Settings
from qa_lightning.utils.errors import UserError
from tests.data.tokenizers import build, word_level

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "top5": {"top_k": 5},
    "null": {"handle_impossible_answer": True, "top_k": 3},
    "nowords": {"align_to_words": False},
    "short": {"max_seq_len": 128, "doc_stride": 32, "max_answer_len": 8},
}
FILES = {
    "old-pipeline.xquad.en.dev.json": ("data/xquad.en.dev.json", 60),
    "old-pipeline.edge.json": ("golden/old-pipeline.edge.data.json", 12),
}


@pytest.mark.parametrize("golden", FILES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_answer_is_given_again(golden: str, setting: str, shared: Path) -> None:
    data, count = FILES[golden]
    asked = {
        qa["id"]: {"question": qa["question"], "context": paragraph["context"]}
        for article in json.loads((shared / data).read_text())["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }
    expected = json.loads((shared / "golden" / golden).read_text())[setting]
    assert len(expected) == count
    reader = Reader.from_pretrained(shared / "models/tiny-bert-qa", device="cpu")
    found = reader([asked[name] for name in expected], legacy=True, **SETTINGS[setting])
    for answers, (name, theirs) in zip(found, expected.items(), strict=True):
        ours = answers if isinstance(answers, list) else [answers]
        theirs = theirs if isinstance(theirs, list) else [theirs]
        assert [(answer["start"], answer["end"], answer["answer"]) for answer in ours] == [
            (answer["start"], answer["end"], answer["answer"]) for answer in theirs
        ], name
        assert [answer["score"] for answer in ours] == pytest.approx(
            [answer["score"] for answer in theirs], abs=1e-4
        ), name


# Questions of XQuAD's Hindi part by id: their tokens, and the answer that transformers 5.2.0 gave with its defaults.
LONG = {
    "56e1b62ecd28a01900c67aa5": (95, 0.0218480, 262, 287),
    "5706074552bb8914006897d7": (66, 0.0187794, 402, 415),
    "571144d1a58dae1900cd6d70": (74, 0.0092782, 49, 72),  # without the vowel sign that ends the word
    "572669a9dd62a815002e8419": (82, 0.0339852, 49, 57),
}


def hindi(shared: Path) -> dict[str, dict[str, str]]:
    return {
        qa["id"]: {"question": qa["question"], "context": paragraph["context"]}
        for article in json.loads((shared / "data/xquad.hi.json").read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }


def test_long_questions_are_not_cut(shared: Path) -> None:
    reader = Reader.from_pretrained(shared / "models/tiny-bert-qa", device="cpu", legacy=True)
    asked = hindi(shared)
    for name, (tokens, score, start, end) in LONG.items():
        assert len(reader.tokenizer.tokenize(asked[name]["question"])) == tokens
        text = asked[name]["context"][start:end]
        expected = {"score": pytest.approx(score, abs=1e-5), "start": start, "end": end, "answer": text}
        assert reader(asked[name]) == expected
    assert [answer["start"] for answer in reader([asked[name] for name in LONG])] == [row[2] for row in LONG.values()]


def test_where_a_question_leaves_no_room_its_context_cannot_be_cut(shared: Path) -> None:
    """The tokenizer panicked there."""
    reader = Reader.from_pretrained(shared / "models/tiny-bert-qa", device="cpu", legacy=True)
    question = "who wrote it ? " * 40
    with pytest.raises(UserError, match=r"^the question 'who wrote .*' has 160 tokens, which leaves 37 .* lower doc_s"):
        reader(question=question, context="in Rome " * 40, max_seq_len=200)
    assert reader(question=question, context="in Rome " * 40, max_seq_len=200, doc_stride=36)["answer"]
    assert reader(question=question, context="in Rome", max_seq_len=200)["answer"]
    with pytest.raises(UserError, match=r"which leaves 0 of a window"):
        reader(question=question, context="in Rome", max_seq_len=150)
    with pytest.raises(UserError, match=r"doc_stride \(201\) is not between 0 and max_seq_len \(200\)"):
        reader(question="who?", context="in Rome", max_seq_len=200, doc_stride=201)


@pytest.mark.parametrize("family", ["bert-cased", "roberta", "albert"])
@pytest.mark.parametrize("lengths", [{}, {"max_seq_len": 200, "doc_stride": 32}, {"max_seq_len": 128}])
def test_windows_are_those_of_the_tokenizer(family: str, lengths: dict[str, int], shared: Path) -> None:
    tokenizer, longest = build(family, shared), lengths.get("max_seq_len", 384)
    every = list(hindi(shared).values())[::97]
    asked = [record | {"question": f"{' ' * i}{record['question'][: longest // 8]}"} for i, record in enumerate(every)]
    if not lengths:
        asked += [{"question": "Who wrote it ? " * 30, "context": record["context"] * 3} for record in every[:3]]
    windows = make_windows([Pair(**record) for record in asked], Settings(legacy=True, **lengths), tokenizer, None)
    expected = tokenizer(
        [record["question"] for record in asked],
        [record["context"] for record in asked],
        truncation="only_second",
        max_length=longest,
        stride=lengths.get("doc_stride", min(longest // 2, 128)),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert len(windows) == len(expected["input_ids"]) > len(asked)
    for number, (ids, offsets) in enumerate(zip(expected["input_ids"], expected["offset_mapping"], strict=True)):
        batch = windows[np.array([number])]
        assert batch.inputs["input_ids"][0].tolist() == ids
        assert batch.offsets is not None
        first = expected.sequence_ids(number).index(1)
        assert batch.offsets[0, first:-1].tolist() == [list(span) for span in offsets[first:-1]]


def test_windows_are_as_long_as_the_tokenizer_says() -> None:
    tokenizer = word_level(["in"], model_max_length=20)
    asked = [Pair("in", "in " * 100)]
    assert make_windows(asked, Settings(legacy=True), tokenizer, None).lengths.max() == 20
    assert make_windows(asked, Settings(max_question_len=4), tokenizer, None).lengths.max() == 104
