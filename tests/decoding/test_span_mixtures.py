"""Mixtures of what models say of spans: by hand, and against the slow and obvious."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from qa_lightning.decoding.span_mixtures import (
    SpanProbabilities,
    WindowScores,
    best_rows,
    distinct_rows,
    mix,
    span_probabilities,
    token_mixture,
)

NEVER = -math.inf


def window(starts: list[float], ends: list[float], offsets: list[tuple[int, int]], null: float = 0.0) -> WindowScores:
    return WindowScores(np.float32(starts), np.float32(ends), np.array(offsets), null)  # type: ignore[arg-type]


def as_dict(found: SpanProbabilities) -> dict[tuple[int, int], float]:
    return {tuple(span): math.exp(log) for span, log in zip(found.spans.tolist(), found.logs.tolist(), strict=True)}


def said(probabilities: dict[tuple[int, int], float], null: float = 0.0) -> SpanProbabilities:
    spans = sorted(probabilities)
    logs = [math.log(probabilities[span]) for span in spans]
    return SpanProbabilities(
        np.array(spans, dtype=np.int64).reshape(-1, 2), np.array(logs), math.log(null) if null else NEVER
    )


def test_probabilities_of_two_windows_by_hand() -> None:
    # "ab cd ef" in two windows that share "cd": its highest score counts, and null's lowest.
    first = window([NEVER, 1, 0], [NEVER, 0, 1], [(0, 0), (0, 2), (3, 5)], null=2.0)
    second = window([0, 2], [0, 1], [(3, 5), (6, 8)], null=1.0)
    found = span_probabilities([first, second], max_answer_length=2, null_allowed=True)
    scores = {(0, 2): 1, (0, 5): 2, (3, 5): 1, (3, 8): 1, (6, 8): 3}
    total = sum(map(math.exp, scores.values())) + math.exp(1.0)
    assert as_dict(found) == pytest.approx({span: math.exp(score) / total for span, score in scores.items()})
    assert found.null == pytest.approx(1.0 - math.log(total))
    sure = span_probabilities([first, second], max_answer_length=2, null_allowed=False)
    assert math.fsum(as_dict(sure).values()) == pytest.approx(1)
    assert sure.null == NEVER


def test_the_mean_of_two_tokenizers_by_hand() -> None:
    # "playing": a model cuts it into "play" and "ing", another into "p" and "laying".
    words = said({(0, 4): 0.5, (0, 7): 0.25, (4, 7): 0.125}, null=0.125)
    letters = said({(0, 1): 0.5, (0, 7): 0.375}, null=0.125)
    found = mix([words, letters], [0.25, 0.75])
    assert as_dict(found) == pytest.approx({(0, 1): 0.375, (0, 4): 0.125, (0, 7): 0.34375, (4, 7): 0.03125})
    assert math.exp(found.null) == pytest.approx(0.125)
    assert as_dict(mix([words, letters], [1.0, 0.0])) == pytest.approx(as_dict(words) | {(0, 1): 0.0})


@pytest.mark.parametrize("pairs", [False, True])
def test_against_the_slow_and_obvious(pairs: bool) -> None:
    random = np.random.default_rng(int(pairs))
    for _ in range(20):
        windows, scores, nulls = [], {}, []
        for begin in range(3):
            length = int(random.integers(1, 6))
            edges = np.sort(random.integers(0, 12, (length, 2)), axis=1) + 2 * begin
            edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
            starts = np.where(random.random(length) < 0.2, NEVER, random.normal(size=length)).astype(np.float32)
            shape = (length, length) if pairs else (length,)
            ends = np.where(random.random(shape) < 0.2, NEVER, random.normal(size=shape)).astype(np.float32)
            windows.append(WindowScores(starts, ends, edges, float(random.normal())))
            nulls.append(windows[-1].null)
            for i, j in product(range(length), repeat=2):
                score = float(starts[i]) + float(ends[i, j] if pairs else ends[j])
                span = (int(edges[i, 0]), int(edges[j, 1]))
                if i <= j < i + 3 and score > NEVER and span[0] < span[1]:
                    scores[span] = max(score, scores.get(span, NEVER))
        total = sum(map(math.exp, scores.values())) + math.exp(min(nulls))
        found = span_probabilities(windows, max_answer_length=3, null_allowed=True)
        assert as_dict(found) == pytest.approx({span: math.exp(score) / total for span, score in scores.items()})
        assert math.exp(found.null) == pytest.approx(math.exp(min(nulls)) / total)


def test_very_unlikely_spans_keep_their_order() -> None:
    sure = window([2000.0, 0.0], [2000.0, -3000.0], [(0, 1), (2, 3)], null=-9000.0)
    found = span_probabilities([sure], max_answer_length=1, null_allowed=True)
    assert found.logs.tolist() == pytest.approx([0.0, -7000.0])
    assert found.null == pytest.approx(-13000.0)


def test_rows_hold_the_logarithms_to_the_last_digit() -> None:
    found = said({(0, 4): 0.3, (0, 7): 0.1, (4, 7): 0.1}, null=0.5)
    rows = best_rows(found, 4)
    assert rows["start"].tolist()[:3] == [0, 0, 4]
    assert rows["end"].tolist()[:3] == [4, 7, 7]
    sums = rows["start_logit"].astype(np.float64) + rows["end_logit"]
    assert np.exp(sums).tolist() == pytest.approx([0.3, 0.1, 0.1, 0.0, 0.5], rel=1e-12)
    assert best_rows(found, 1)["end"].tolist() == [4, 0]


def test_distinct_texts() -> None:
    found = said({(0, 2): 0.4, (3, 5): 0.3, (6, 8): 0.2, (0, 5): 0.1})
    rows = distinct_rows(found, 2, "ab ab cd")
    assert list(zip(rows["start"].tolist(), rows["end"].tolist(), strict=True)) == [(0, 2), (6, 8)]
    assert len(distinct_rows(found, 9, "ab ab cd")) == 3


def test_tokens_get_what_begins_and_ends_in_them() -> None:
    found = said({(0, 4): 0.5, (0, 7): 0.25, (5, 7): 0.125}, null=0.125)
    starts, ends = token_mixture(found, np.array([[0, 3], [3, 7]]))
    assert starts.tolist() == pytest.approx([0.75, 0.125])
    assert ends.tolist() == pytest.approx([0.0, 0.875])


def test_a_context_without_a_span_leaves_null_only() -> None:
    empty = window([NEVER], [0.0], [(0, 0)], null=1.0)
    found = span_probabilities([empty], max_answer_length=3, null_allowed=True)
    assert len(found.spans) == 0
    assert found.null == 0.0
    mixed = mix([found, found], [0.5, 0.5])
    assert mixed.null == pytest.approx(0.0)
    assert best_rows(mixed, 2)["start_logit"].tolist()[:2] == [NEVER, NEVER]
