"""The best answers with different texts, beside a slow reference."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qa_lightning.decoding.distinct import TextHashes, best_distinct_texts
from qa_lightning.records import ANSWER


@given(st.text("abAB é\u0130🎉ß", max_size=40))
def test_equal_texts_have_equal_numbers_and_others_have_not(context: str) -> None:
    spans = [(a, b) for a in range(len(context)) for b in range(a + 1, len(context) + 1)]
    hashes = TextHashes(context)(*np.array(spans, dtype=np.int64).reshape(-1, 2).T)
    by_text: dict[tuple[str, ...], int] = {}
    for (start, end), number in zip(spans, hashes.tolist(), strict=True):
        text = tuple(c.casefold() if len(c.casefold()) == 1 else c for c in context[start:end])
        assert by_text.setdefault(text, number) == number
    assert len(set(by_text.values())) == len(by_text)


logit = st.integers(-3, 3).map(float) | st.just(-math.inf)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), logit, logit), min_size=1, max_size=12),
    st.integers(1, 9),
    st.integers(1, 14),
)
def test_all_spans_are_looked_at(tokens: list[tuple[str, float, float]], k: int, most: int) -> None:
    context = "".join(token for token, *_ in tokens)
    starts, ends = (np.array([one[i] for one in tokens], dtype=np.float32) for i in (1, 2))
    offsets = np.array([(i, i + 1) for i in range(len(tokens))])
    rows = best_distinct_texts(starts, ends, offsets, k, most, TextHashes(context))
    assert rows.dtype == ANSWER
    expected: dict[str, tuple[float, int, int]] = {}
    for a in range(len(tokens)):
        for b in range(a, min(a + most, len(tokens))):
            if math.isfinite(starts[a] + ends[b]):
                one = (-(starts[a] + ends[b]), a, b + 1)
                expected[context[a : b + 1]] = min(one, expected.get(context[a : b + 1], one))
    best = sorted(expected.values())[:k]
    found = [(-(row["start_logit"] + row["end_logit"]), row["start"], row["end"]) for row in rows]
    assert found == best
