"""Null at the end of windows, for tokenizers of causal decoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qa_lightning.data.layout import Layout, read_layout, with_null_at_end
from qa_lightning.data.tokens import plain_backend
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.question_windows import make_windows
from qa_lightning.reader.settings import Settings
from tests.data.tokenizers import build, word_level

WORDS = "who where sang wrote Mara Ivo Oslo in . ?".split()


def layouts(tokenizer: Any) -> tuple[Layout, Layout]:
    own = read_layout(tokenizer, plain_backend(tokenizer), "who sang", "Mara sang in Oslo")
    return own, with_null_at_end(own, tokenizer)


@pytest.mark.parametrize(
    ("family", "after", "null"), [("llama", "</s>", (2, 0)), ("qwen", "<|endoftext|>", (2, 0)), ("t5", "</s>", (2, 0))]
)
def test_families(family: str, after: str, null: tuple[int, int], shared: Path) -> None:
    tokenizer = build(family, shared)
    own, at_end = layouts(tokenizer)
    assert tokenizer.convert_ids_to_tokens(list(at_end.after)) == [after]
    assert at_end.null == null
    assert (at_end.before, at_end.between) == (own.before, own.between)
    assert at_end.special_tokens == own.special_tokens + (family != "t5")


def test_a_token_that_is_added_has_the_type_of_what_stands_before_it() -> None:
    tokenizer = word_level(WORDS, cls_token=None, eos_token="[SEP]")
    own, at_end = layouts(tokenizer)
    assert at_end.after == own.after == (3,)
    from tokenizers import processors

    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair="[CLS] $A [SEP] $B:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    own, at_end = layouts(tokenizer)
    assert (own.after, own.null, own.types) == ((), (0, 0), ((0,), (0,), (0,), (1,), ()))
    assert (at_end.after, at_end.null, at_end.types) == ((3,), (2, 0), ((0,), (0,), (0,), (1,), (1,)))
    tokenizer.eos_token = None
    own, at_end = layouts(tokenizer)
    assert at_end == own


@pytest.mark.parametrize("family", ["llama", "qwen"])
def test_windows_end_with_the_token_that_null_is_scored_at(family: str, shared: Path) -> None:
    tokenizer = build(family, shared)
    pairs = [Pair("Who sang?", "Mara sang in Oslo. " * 30), Pair("Where?", "In Oslo.")]
    settings = Settings(max_seq_len=40, max_question_len=10, doc_stride=5)
    own, at_end = (make_windows(pairs, settings, tokenizer, 40, null_at_end) for null_at_end in (False, True))
    assert at_end.lengths.max() == 40
    assert own.lengths[-1] + 1 == at_end.lengths[-1]
    batch = at_end[np.arange(len(at_end))]
    assert batch.null_position.tolist() == [39] * len(at_end)  # rows are filled at their left
    assert set(batch.inputs["input_ids"][:, -1].tolist()) == {tokenizer.eos_token_id}
    assert not batch.context_mask[:, -1].any()
    assert batch.inputs["attention_mask"][:, -1].all()
    legacy = make_windows(pairs, Settings(max_seq_len=40, doc_stride=5, legacy=True), tokenizer, 40, True)
    assert set(legacy[np.arange(len(legacy))].inputs["input_ids"][:, -1].tolist()) != {tokenizer.eos_token_id}
