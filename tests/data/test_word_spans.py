"""The words that tokens belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from qa_lightning.data.tokens import Tokens, plain_backend, tokenize
from qa_lightning.data.word_spans import tokenizer_word_spans, unicode_word_spans
from tests.data.tokenizers import build


def by_character(*texts: str) -> Tokens:
    """A token for every character, of which white space covers nothing."""
    offsets = [(i, i if character.isspace() else i + 1) for text in texts for i, character in enumerate(text)]
    bounds = np.cumsum([0, *map(len, texts)])
    return Tokens(np.zeros(len(offsets), np.int32), bounds, np.array(offsets, np.int32).reshape(-1, 2))


def words_of(text: str, most_tokens: int = 100) -> list[str]:
    """The distinct words of a text's characters, in their order."""
    spans = unicode_word_spans([text], by_character(text), most_tokens).tolist()
    return list(dict.fromkeys(text[start:end] for start, end in spans if start < end))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Spanish didn't pay.", ["The", "Spanish", "didn't", "pay", "."]),
        ("It cost 3.14 dollars, or 1,000?", ["It", "cost", "3.14", "dollars", ",", "or", "1,000", "?"]),
        ("e-mail foo_bar (both)", ["e", "-", "mail", "foo_bar", "(", "both", ")"]),
        ("東京タワー です", ["東", "京", "タワー", "で", "す"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("Việt Nam", ["Việt", "Nam"]),
        ("한국어 단어", ["한국어", "단어"]),
        ("a👨‍👩‍👧b", ["a", "👨‍👩‍👧", "b"]),
    ],
)
def test_words_are_those_of_unicode(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_thai_has_no_words_of_more_than_a_syllable() -> None:
    text = "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย"
    assert max(map(len, words_of(text))) <= 3
    assert "".join(words_of(text)[:3]) == text[: sum(map(len, words_of(text)[:3]))]


def test_a_word_of_too_many_tokens_is_left_in_pieces() -> None:
    assert words_of("a word", most_tokens=4) == ["a", "word"]
    assert words_of("a word", most_tokens=3) == ["a", "w", "o", "r", "d"]


def test_a_token_across_words_takes_the_first_and_the_last_whole() -> None:
    tokens = Tokens(np.zeros(3, np.int32), np.array([0, 3]), np.array([[1, 5], [5, 5], [6, 9]], np.int32))
    assert unicode_word_spans(["one two three"], tokens, 10).tolist() == [[0, 7], [5, 5], [4, 13]]


def test_words_do_not_reach_into_the_next_text() -> None:
    texts = ["ab c", "", "d ef"]
    spans = unicode_word_spans(texts, by_character(*texts), 10).tolist()
    assert spans == [[0, 2], [0, 2], [2, 2], [3, 4], [0, 1], [1, 1], [2, 4], [2, 4]]


@pytest.mark.parametrize("family", ["bert-uncased", "roberta", "xlm-roberta"])
def test_the_tokenizer_splits_in_its_own_way(family: str, shared: Path) -> None:
    tokenizer = build(family, shared)
    backend = plain_backend(tokenizer)
    texts = ["The unfathomable Spanish didn't pay.", "東京タワー です"]
    tokens = tokenize(pa.array(texts), backend)
    found = tokenizer_word_spans(backend, texts, tokens)
    for number, text in enumerate(texts):
        encoding = backend.encode(text, add_special_tokens=False)
        own = slice(*tokens.bounds[number : number + 2])
        for place, offsets in enumerate(tokens.offsets[own].tolist()):
            if offsets[0] < offsets[1]:
                start, end = encoding.word_to_chars(encoding.token_to_word(place))
                assert text[slice(*found[own][place])] == text[start:end].strip()
    in_japanese = found[tokens.bounds[1] :]
    assert {"bert-uncased": 4, "roberta": 2, "xlm-roberta": 2}[family] == len(np.unique(in_japanese, axis=0))
