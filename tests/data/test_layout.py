from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors

from qa_lightning.data.layout import Layout, read_layout
from qa_lightning.data.tokens import plain_backend
from qa_lightning.utils.errors import UserError
from tests.data.tokenizers import FAMILIES, build, characters, word_level

WORDS = ["ada", "wrote", "who"]


def read(tokenizer: Any, question: str = "who", context: str = "ada wrote") -> Layout:
    return read_layout(tokenizer, plain_backend(tokenizer), question, context)


def with_pair(pair: str) -> Any:
    """A tokenizer that joins two texts by this template."""
    tokenizer = word_level(WORDS)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def test_by_hand() -> None:
    layout = read(word_level(WORDS))
    assert layout == Layout(
        question_first=True,
        before=(2,),
        between=(3,),
        after=(3,),
        types=((0,), (0,), (0,), (1,), (1,)),
        null=(0, 0),
        pad_id=0,
        pad_type=0,
        pad_left=False,
    )
    assert layout.special_tokens == 3
    assert layout.assemble([7, 8], [9]) == [2, 7, 8, 3, 9, 3]


# Family: question first, special tokens before, between and after, types of the five parts, null.
EXPECTED: dict[str, tuple[bool, str, str, str, str | None, tuple[int, int] | None]] = {
    "bert-uncased": (True, "[CLS]", "[SEP]", "[SEP]", "0 0 0 1 1", (0, 0)),
    "bert-cased": (True, "[CLS]", "[SEP]", "[SEP]", "0 0 0 1 1", (0, 0)),
    "bert-left": (False, "[CLS]", "[SEP]", "[SEP]", "0 0 0 1 1", (0, 0)),
    "roberta": (True, "<s>", "</s> </s>", "</s>", None, (0, 0)),
    "xlnet": (False, "", "<sep>", "<sep> <cls>", " 0 0 1 12", (2, 1)),
    "xlm-roberta": (True, "<s>", "</s> </s>", "</s>", None, (0, 0)),
    "albert": (True, "[CLS]", "[SEP]", "[SEP]", "0 0 0 1 1", (0, 0)),
    "t5": (True, "", "</s>", "</s>", None, (1, 0)),
    "word-level": (True, "[CLS]", "[SEP]", "[SEP]", "0 0 0 1 1", (0, 0)),
    "llama": (True, "<s>", "<s>", "", None, (0, 0)),
    "qwen": (True, "", "", "", None, None),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family: str, shared: Path) -> None:
    tokenizer = build(family, shared)
    question_first, before, between, after, types, null = EXPECTED[family]
    layout = read(tokenizer)
    assert layout.question_first is question_first
    for ids, special in ((layout.before, before), (layout.between, between), (layout.after, after)):
        assert tokenizer.convert_ids_to_tokens(list(ids)) == special.split()
    assert layout.types == (types and tuple(tuple(map(int, part)) for part in types.split(" ")))
    assert layout.null == null
    assert layout.pad_id == tokenizer.pad_token_id
    assert layout.pad_left is (family in {"bert-left", "xlnet", "llama", "qwen"})
    assert layout.special_tokens == tokenizer.num_special_tokens_to_add(pair=True)


def test_null_is_at_the_classification_token_wherever_it_stands() -> None:
    assert read(with_pair("[SEP] $A [SEP] $B [SEP] [CLS]")).null == (2, 1)
    assert read(with_pair("[SEP] $A [SEP] [CLS] $B [CLS]")).null == (1, 1)
    # One that is never added is none.
    assert read(with_pair("$A [SEP] $B [SEP]")).null == (1, 0)
    assert read(with_pair("$A $B [SEP]")).null == (2, 0)
    assert read(with_pair("$A $B")).null is None


def test_special_tokens_that_stand_in_the_texts_are_text() -> None:
    layout = read(word_level(WORDS), question="[CLS] who [SEP]", context="[SEP] ada [CLS]")
    assert (layout.before, layout.between, layout.after, layout.null) == ((2,), (3,), (3,), (0, 0))


def test_without_a_padding_token_rows_are_filled_with_the_last_or_any() -> None:
    for eos, expected in (("</s>", 257), (None, 0)):
        tokenizer = characters(padding_side="left", eos_token=eos)
        tokenizer.pad_token = None
        assert read(tokenizer).pad_id == expected


def test_the_context_is_first_only_with_left_padding_and_a_classification_token() -> None:
    assert read(word_level(WORDS)).question_first
    assert not read(word_level(WORDS, padding_side="left")).question_first
    assert read(word_level(WORDS, padding_side="left", cls_token=None)).question_first


@pytest.mark.parametrize("pair", ["$B [SEP] $A", "$A [SEP] $B [SEP] $A"])
def test_a_tokenizer_that_mixes_the_texts_is_refused(pair: str) -> None:
    with pytest.raises(UserError, match="does not join question and context one after the other"):
        read(with_pair(pair))


@pytest.mark.parametrize("texts", [("", "ada"), ("who", " \n"), ("", "")])
def test_a_text_without_tokens_is_refused(texts: tuple[str, str]) -> None:
    with pytest.raises(UserError, match="produces no tokens for one of the texts"):
        read(word_level(WORDS), *texts)
