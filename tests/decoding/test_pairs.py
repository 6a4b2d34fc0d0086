"""Ends that are given for each start: by hand, and beside slow references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor

from qa_lightning.decoding.decoder import Decoder
from qa_lightning.decoding.distinct import best_distinct_texts
from qa_lightning.decoding.pairs import near_ends, pair_logits, pointer_logits
from qa_lightning.decoding.spans import Spans, best_spans, null_logits
from qa_lightning.decoding.token_probabilities import ScoredBatch, token_probabilities
from qa_lightning.decoding.word_logits import word_logits
from qa_lightning.records import Batch, Question

INF = math.inf
NEVER = -math.inf

# Integers and halves, so that sums are exact and ties are common; some logits that cannot be.
logit = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, NEVER, INF])


@st.composite
def windows(draw: st.DrawFn) -> tuple[list, list, list]:
    batch, length = draw(st.integers(1, 2)), draw(st.integers(1, 8))

    def table(values: st.SearchStrategy, *shape: int) -> list:
        size, *others = shape
        return [table(values, *others) for _ in range(size)] if others else [draw(values) for _ in range(size)]

    return table(logit, batch, length), table(logit, batch, length, length), table(st.booleans(), batch, length)


def all_spans(start: list, end: list, mask: list, max_answer_length: int) -> list:
    """Every valid span by two loops, in the order that is promised."""
    spans = [
        (i, j, start[i], end[i][j])
        for i in range(len(mask))
        for j in range(len(mask))
        if mask[i] and mask[j] and i <= j < i + max_answer_length
        if abs(start[i]) < INF and abs(end[i][j]) < INF
    ]
    return sorted(spans, key=lambda span: (-(span[2] + span[3]), span[0], span[1]))


def found(spans: Spans, row: int) -> list[tuple[int, int, float, float]]:
    return list(zip(*(column[row].tolist() for column in spans), strict=True))


@settings(deadline=None)
@given(windows(), st.integers(1, 30), st.integers(1, 10))
def test_equals_two_loops_over_all_spans(window: tuple, k: int, max_answer_length: int) -> None:
    start, end, mask = window
    spans = best_spans(tensor(start), tensor(end), tensor(mask), k, max_answer_length)
    for row in range(len(mask)):
        expected = all_spans(start[row], end[row], mask[row], max_answer_length)[:k]
        assert found(spans, row) == expected + [(-1, -1, NEVER, NEVER)] * (k - len(expected))


def test_ends_that_do_not_depend_on_the_start_give_the_same_as_those_of_tokens() -> None:
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 3, 20, generator=generator)
    mask = torch.rand(3, 20, generator=generator) < 0.8
    words = torch.arange(20).div(3, rounding_mode="floor").expand(3, -1)[..., None].expand(-1, -1, 2)
    pairs = end[:, None].expand(-1, 20, -1)
    for ours, theirs in zip(best_spans(start, pairs, mask, 9, 5), best_spans(start, end, mask, 9, 5), strict=True):
        assert torch.equal(ours, theirs)
    places = tensor([3, -1, 0])
    for ours, theirs in zip(null_logits(start, pairs, places), null_logits(start, end, places), strict=True):
        assert torch.equal(ours, theirs)
    of_pairs, of_tokens = (best_spans(*word_logits(start, ends, mask, words), mask, 9, 9) for ends in (pairs, end))
    assert torch.equal(of_pairs.starts, of_tokens.starts)
    assert torch.equal(of_pairs.ends, of_tokens.ends)
    torch.testing.assert_close(of_pairs.end_logits, of_tokens.end_logits)


def test_near_ends_by_hand() -> None:
    ends = torch.arange(9.0).view(1, 3, 3)
    assert near_ends(ends, 2, -1.0).tolist() == [[[0.0, 1.0], [4.0, 5.0], [8.0, -1.0]]]


@settings(deadline=None)
@given(windows(), st.data())
def test_words_score_as_the_best_pair_of_their_tokens(window: tuple, data: st.DataObject) -> None:
    start, end, mask = window
    length = len(mask[0])
    joins = [data.draw(st.lists(st.booleans(), min_size=length, max_size=length)) for _ in mask]
    number = [np.cumsum([0, *(not join for join in row[1:])]).tolist() for row in joins]
    words = tensor([[[word, word] for word in row] for row in number])
    starts, ends = word_logits(tensor(start), tensor(end), tensor(mask), words)
    for row in range(len(mask)):
        places: dict[int, list[int]] = {}
        for token in range(length):
            if mask[row][token]:
                places.setdefault(number[row][token], []).append(token)
        expected = torch.full((length, length), NEVER)
        for tokens in places.values():
            for others in places.values():
                scores = [
                    start[row][i] + end[row][i][j]
                    for i in tokens
                    for j in others
                    if abs(start[row][i]) < INF and abs(end[row][i][j]) < INF
                ]
                expected[tokens[0], others[-1]] = max(scores, default=NEVER)
        scores = pair_logits(starts, ends)[row].nan_to_num(NEVER, INF, NEVER)
        assert torch.equal(scores, expected)


def test_distinct_texts_are_looked_for_in_all_pairs() -> None:
    end = np.array([[0.0, 5.0, 1.0], [9.0, 2.0, 7.0], [9.0, 9.0, 3.0]], dtype=np.float32)
    offsets = np.array([[0, 1], [1, 2], [2, 3]])
    rows = best_distinct_texts(np.zeros(3, dtype=np.float32), end, offsets, 4, 2, "aba")
    # "ba", "ab", the better "a", "b"; "aba" has three tokens.
    assert [(row["start"], row["end"], row["end_logit"]) for row in rows] == [
        (1, 3, 7),
        (0, 2, 5),
        (2, 3, 3),
        (1, 2, 2),
    ]


# Probabilities of starts and ends, and answers


def one_window(context_tokens: int, null_position: int = 0) -> Batch:
    """A window of a special token and tokens of one character each."""
    length = 1 + context_tokens
    context = "abcdefgh"[:context_tokens]
    return Batch(
        inputs={"attention_mask": torch.ones(1, length, dtype=torch.long)},
        question_mask=torch.zeros(1, length, dtype=torch.bool),
        context_mask=torch.arange(length)[None] > 0,
        null_position=tensor([null_position]),
        starts=tensor([[-1]]),
        ends=tensor([[-1]]),
        ids=["q"],
        offsets=tensor([[[0, 0], *([i, i + 1] for i in range(context_tokens))]]),
        questions=[Question(0, "q", "?", context, None, 1)],
    )


def logs(rows: list[list[float]]) -> Tensor:
    return tensor([rows]).log()


def test_probabilities_of_starts_are_sums_over_their_ends() -> None:
    # Null 2; "a" 1, "ab" 3, "b" 4; the end before the start counts for nothing, nor does what mixes null and a token.
    start, end = torch.zeros(1, 3), logs([[2, 50, 50], [50, 1, 3], [50, 50, 4]])
    starts, ends = pointer_logits(start, end, tensor([[False, True, True]]), tensor([0]))
    assert starts.exp()[0].tolist() == pytest.approx([2, 4, 4])
    assert ends.exp()[0].tolist() == pytest.approx([2, 1, 7])
    scored = [ScoredBatch(one_window(2), start, end)]
    with_null = token_probabilities(scored, null_allowed=True)
    assert with_null.starts.tolist() == pytest.approx([0.4, 0.4])
    assert with_null.ends.tolist() == pytest.approx([0.1, 0.7])
    assert token_probabilities(scored, null_allowed=False).ends.tolist() == pytest.approx([1 / 8, 7 / 8])


def test_an_answer_is_the_best_pair_with_its_score_and_the_null_score_that_of_null_with_itself() -> None:
    start = tensor([[0.5, 1.0, 2.0, 0.0]])
    end = tensor([[[1.5, 9, 9, 9], [9, 0, 3.5, 5], [9, 9, 1, 2], [9, 9, 9, 1]]])
    decoder = Decoder(n_best_size=3, max_answer_length=2, null_allowed=True, null_score_diff_threshold=0.0)
    (prediction,) = decoder.answer(one_window(3), start, end)
    assert prediction.text == "ab"
    assert [(answer.text, answer.start_logit, answer.end_logit) for answer in prediction.answers] == [
        ("ab", 1.0, 3.5),
        ("bc", 2.0, 2.0),
        ("b", 2.0, 1.0),
        ("", 0.5, 1.5),
    ]
    assert prediction.null_odds == pytest.approx(2.0 - 4.5)
