"""The tokens of a window, against what the tokenizer says of the whole pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qa_lightning.data.shapes import Shapes
from qa_lightning.data.splits import Split
from qa_lightning.inspection.statistics import sample_examples
from qa_lightning.inspection.window_view import AROUND, Token, WindowView, sample_windows, shortened
from tests.data.prepared import covered, prepare, rows
from tests.data.tokenizers import FAMILIES, build, word_level

WORDS = "who ? ada wrote the first program in london .".split()
CONTEXT = "Ada Lovelace wrote  the first program in Łondon, they say."
QUESTION = "  Who wrote it,\tand where?"


def views(split: Split, tokenizer: Any, count: int = 9, seed: int = 0) -> list[WindowView]:
    return sample_windows(split, tokenizer, count, seed)


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_are_those_of_the_pair(family: str, shared: Path) -> None:
    tokenizer = build(family, shared)
    split = prepare(rows(CONTEXT, ("first program",), question=QUESTION), tokenizer)
    (view,) = views(split, tokenizer)
    pair = (QUESTION.lstrip(), CONTEXT)
    question_first = split.dataset.encoded.layout.question_first
    encoding = tokenizer.backend_tokenizer.encode(*(pair if question_first else pair[::-1]))
    assert [token.token for token in view.tokens] == tokenizer.convert_ids_to_tokens(encoding.ids)
    assert [token.position for token in view.tokens] == list(range(len(encoding.ids)))
    assert view.decoded == tokenizer.decode(encoding.ids)
    texts = ("question", "context") if question_first else ("context", "question")
    parts = ["special" if side is None else texts[side] for side in encoding.sequence_ids]
    assert [token.part for token in view.tokens] == parts
    for part, text in (("question", QUESTION.lstrip()), ("context", CONTEXT)):
        of_part = [token for token in view.tokens if token.part == part]
        shift = len(QUESTION) - len(text) if part == "question" else 0
        offsets = [span for span, of in zip(encoding.offsets, parts, strict=True) if of == part]
        for token, span in zip(of_part, covered(text, offsets), strict=True):
            assert token.text == (text[slice(*span)] if span else "")
            assert span is None or (token.start, token.end) == (span[0] + shift, span[1] + shift)
    begin, end = (next(token for token in view.tokens if name in token.label) for name in ("start", "end"))
    assert CONTEXT[begin.start : end.end] == "first program"


SHORT: dict[str, Any] = {"max_length": 10, "doc_stride": 2, "max_question_length": 4, "version_2_with_negative": True}


def labels(view: WindowView) -> dict[str, str]:
    return {token.token: token.label for token in view.tokens if token.label}


def test_the_window_that_holds_an_answer_is_shown() -> None:
    tokenizer = word_level(WORDS)
    # Windows hold the tokens "ada" to "program" and "first" to ".".
    golds = (("london",), ("first program", "wrote"), (), ("wrote the first program in",))
    split = prepare(rows("ada wrote the first program in london .", *golds), tokenizer, answers="all", **SHORT)
    held, both, nothing, long = views(split, tokenizer)
    assert [(view.id, view.number, view.of) for view in (held, both, nothing, long)] == [
        ("0", 2, 2),
        ("1", 1, 2),
        ("2", 1, 2),
        ("3", 1, 2),
    ]
    assert labels(held) == {"london": "start, end"}
    assert labels(both) == {"first": "start", "program": "end", "wrote": "start, end"}
    assert labels(nothing) == {"[CLS]": "no answer"}
    assert labels(long) == {"[CLS]": "no answer"}
    assert held.decoded == "[CLS] who ? [SEP] first program in london . [SEP]"


def test_answers_that_were_not_found_are_no_labels() -> None:
    tokenizer = word_level(WORDS)
    (view,) = views(prepare(rows("ada wrote .", ("grace",)), tokenizer), tokenizer)
    assert labels(view) == {}


def test_padding_is_not_shown_as_special_tokens() -> None:
    tokenizer = word_level(WORDS)
    split = prepare(rows("ada wrote .", ("ada",)), tokenizer)
    split.dataset.shapes = Shapes(np.array([16]), np.array([1]))
    (view,) = views(split, tokenizer)
    assert [token.part for token in view.tokens][-9:] == ["special"] + ["padding"] * 8
    assert [len(run) for run in shortened(view.tokens)] == [1] * 8 + [8]


def test_windows_are_of_the_examples_that_are_shown() -> None:
    tokenizer = word_level(WORDS)
    split = prepare(rows("ada wrote .", *[("ada",)] * 40), tokenizer, training=True)
    for seed in range(3):
        examples = [example.id for example in sample_examples(split, "first", 9, seed)]
        windows = [view.id for view in views(split, tokenizer, 4, seed)]
        assert len(windows) == 4
        assert set(windows) < set(examples)
        assert windows == sorted(windows, key=int)
    assert views(split, tokenizer, 0) == []


def test_questions_without_windows_are_not_shown() -> None:
    tokenizer = word_level(WORDS)
    split = prepare(rows("ada wrote .", ("ada",), ("wrote",), ("ada",)), tokenizer, training=True)
    windows = split.dataset.windows
    split.dataset.windows = windows.select(windows.example != 1)
    assert [view.id for view in views(split, tokenizer)] == ["0", "2"]


@pytest.mark.parametrize("at", [0, 50, 99])
def test_far_from_ends_and_labels_tokens_are_left_out(at: int) -> None:
    texts = [("special", "[CLS]")] + [("context", f"t{i}") for i in range(100)] + [("special", "[SEP]")]
    tokens = [
        Token(i, text, None, None, "", part, "start, end" if text == f"t{at}" else "")
        for i, (part, text) in enumerate(texts)
    ]
    runs = shortened(tokens)
    assert [token for run in runs for token in run] == tokens
    left_out = {token.token for run in runs if len(run) > 1 for token in run}
    near = {i for end in (0, at, 99) for i in range(100) if abs(i - end) < AROUND}
    assert left_out == {f"t{i}" for i in range(100)} - {f"t{i}" for i in near}
