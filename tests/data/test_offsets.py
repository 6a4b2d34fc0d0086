"""The characters of tokens: white space at their edges is left out, and marks behind them are taken in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qa_lightning.data.offsets import include_combining_marks, trim_whitespace
from tests.data.prepared import covered

# Trimming

SPACES = [chr(code) for code in range(0x110000) if chr(code).isspace()]


@st.composite
def texts_and_offsets(
    draw: st.DrawFn, alphabet: list[str], forward: bool = False
) -> tuple[list[str], list[list[tuple[int, int]]]]:
    texts = draw(st.lists(st.text(st.sampled_from(alphabet), max_size=12), max_size=5))
    offsets = []
    for text in texts:
        edge = st.integers(0, len(text))
        pairs = [(min(a, b), max(a, b)) for a, b in draw(st.lists(st.tuples(edge, edge), max_size=6))]
        offsets.append(sorted(pairs) if forward else pairs)
    return texts, offsets


@given(texts_and_offsets(["a", "é", "\u200b", *SPACES]))
def test_trim_is_strip(case: tuple[list[str], list[list[tuple[int, int]]]]) -> None:
    texts, offsets = case
    flat = np.array([pair for of_text in offsets for pair in of_text], dtype=np.int32).reshape(-1, 2)
    given = flat.copy()
    bounds = np.cumsum([0, *map(len, offsets)])
    trimmed = trim_whitespace(flat, bounds, texts)
    assert trimmed.dtype == np.int32
    assert np.array_equal(flat, given)
    rows = iter(trimmed.tolist())
    for text, of_text in zip(texts, offsets, strict=True):
        for start, end in of_text:
            first, last = next(rows)
            piece = text[start:end]
            assert start <= first <= last <= end
            assert text[first:last] == piece.strip()
            if piece.strip():
                assert first - start == len(piece) - len(piece.lstrip())


# Marks

VOWEL = "\u0947"
NASAL = "\u0902"


def test_marks_by_hand() -> None:
    texts = [f"म{VOWEL}{NASAL} म{VOWEL}", "a", VOWEL + "b"]
    #         The marks of a word, up to the next token; a token of nothing; the text's end; none before it.
    given = [[0, 1], [4, 5], [0, 1], [2, 2], [2, 3], [0, 1], [1, 2]]
    wanted = [[0, 3], [4, 6], [0, 2], [2, 2], [2, 3], [0, 1], [1, 2]]
    texts.insert(1, texts[0])
    found = include_combining_marks(np.array(given, np.int32), np.array([0, 2, 5, 6, 7]), texts)
    assert found.tolist() == wanted
    assert found.dtype == np.int32


@given(texts_and_offsets(["a", " ", VOWEL, NASAL], forward=True))
def test_marks_one_by_one(case: tuple[list[str], list[list[tuple[int, int]]]]) -> None:
    texts, offsets = case
    flat = np.array([pair for of_text in offsets for pair in of_text], dtype=np.int32).reshape(-1, 2)
    bounds = np.cumsum([0, *map(len, offsets)])
    found = include_combining_marks(trim_whitespace(flat, bounds, texts), bounds, texts).tolist()
    expected = [span for text, of_text in zip(texts, offsets, strict=True) for span in covered(text, of_text)]
    assert [(start, end) if start < end else None for start, end in found] == expected
