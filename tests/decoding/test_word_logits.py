"""Logits of words: by hand, and beside a slow reference."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lightning.decoding.spans import best_spans, to_characters
from qa_lightning.decoding.word_logits import word_logits

NEVER = -math.inf


def test_a_word_starts_and_ends_an_answer_as_well_as_the_best_of_its_tokens() -> None:
    # [CLS] un ##fath ##om - it [SEP]; the dash covers nothing.
    words = torch.tensor([[[0, 0], [0, 8], [0, 8], [0, 8], [8, 8], [9, 11], [0, 0]]])
    mask = torch.tensor([[False, True, True, True, False, True, False]])
    start = torch.tensor([[9.0, 1.0, 3.0, 2.0, 9.0, 0.0, 9.0]])
    end = torch.tensor([[9.0, 5.0, 3.0, 2.0, 9.0, 1.0, 9.0]])
    starts, ends = word_logits(start, end, mask, words)
    assert starts.tolist() == [[NEVER, 3.0, NEVER, NEVER, NEVER, 0.0, NEVER]]
    assert ends.tolist() == [[NEVER, NEVER, NEVER, 5.0, NEVER, 1.0, NEVER]]


def test_a_token_may_begin_in_one_word_and_end_in_another() -> None:
    # "a b c" as "a b", "c", and "a", "b c".
    words = torch.tensor([[[0, 3], [4, 5]], [[0, 1], [2, 5]]])
    mask = torch.ones(2, 2, dtype=torch.bool)
    start, end = torch.tensor([[1.0, 2.0]] * 2), torch.tensor([[3.0, 4.0]] * 2)
    assert [values.tolist() for values in word_logits(start, end, mask, words)] == [start.tolist(), end.tolist()]


def test_a_token_that_covers_nothing_does_not_split_a_word() -> None:
    words = torch.tensor([[[0, 4], [2, 2], [0, 4]]])
    mask = torch.tensor([[True, False, True]])
    starts, ends = word_logits(torch.tensor([[1.0, 9.0, 2.0]]), torch.tensor([[2.0, 9.0, 1.0]]), mask, words)
    assert starts.tolist() == [[2.0, NEVER, NEVER]]
    assert ends.tolist() == [[NEVER, NEVER, 2.0]]


def test_logits_of_half_precision_and_those_that_are_no_numbers() -> None:
    words = torch.tensor([[[0, 2], [0, 2], [3, 4]]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    start = torch.tensor([[math.nan, 1.0, math.inf]], dtype=torch.bfloat16)
    starts, _ = word_logits(start, start, mask, words)
    assert starts.tolist() == [[1.0, NEVER, NEVER]]
    assert starts.dtype == torch.float32


logits = st.integers(-3, 3).map(float)


@st.composite
def windows(draw: st.DrawFn) -> list[tuple[float, float, bool, int]]:
    """Tokens: start logit, end logit, whether it counts, and the number of its word."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    return [(draw(logits), draw(logits), draw(st.booleans()), word) for word, n in enumerate(sizes) for _ in range(n)]


@settings(deadline=None, max_examples=200)
@given(windows(), st.integers(1, 6), st.integers(1, 12))
def test_the_best_spans_are_those_of_words(window: list, k: int, most: int) -> None:
    start, end = torch.tensor([[token[0] for token in window]]), torch.tensor([[token[1] for token in window]])
    mask = torch.tensor([[token[2] for token in window]])
    words = torch.tensor([[[2 * token[3], 2 * token[3] + 1] for token in window]])
    spans = best_spans(*word_logits(start, end, mask, words), mask, k, most)
    found = [
        (score, *place)
        for score, *place in zip(
            (spans.start_logits + spans.end_logits)[0].tolist(),
            *(column[0].tolist() for column in to_characters(spans, words)),
            strict=True,
        )
        if place[0] >= 0
    ]

    counting: dict[int, list[int]] = {}
    for place, token in enumerate(window):
        if token[2]:
            counting.setdefault(token[3], []).append(place)
    expected = sorted(
        (
            (max(window[i][0] for i in counting[a]) + max(window[i][1] for i in counting[b]), 2 * a, 2 * b + 1)
            for a in counting
            for b in counting
            if a <= b and counting[b][-1] - counting[a][0] < most
        ),
        key=lambda span: (-span[0], span[1], span[2]),
    )
    assert found == expected[:k]
