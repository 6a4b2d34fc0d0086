"""The best answers with different texts, beside a slow reference."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qa_lightning.decoding.distinct import best_distinct_texts, fold_case, top_k_distinct
from qa_lightning.records import ANSWER


@given(st.text("abAB é\u0130🎉ß", max_size=40))
def test_folding_keeps_places(context: str) -> None:
    folded = fold_case(context)
    assert [*folded] == [c.casefold() if len(c.casefold()) == 1 else c for c in context]


def test_texts_that_any_polynomial_hash_takes_for_equal_are_two() -> None:
    # The Thue-Morse word and its complement.
    word = "".join("ab"[bin(i).count("1") % 2] for i in range(1024))
    context = word + word.translate(str.maketrans("ab", "ba")) + word.upper()
    spans = np.zeros(3, dtype=ANSWER)
    spans["start"], spans["end"] = [0, 1024, 2048], [1024, 2048, 3072]
    spans["start_logit"] = [2, 1, 3]
    assert top_k_distinct(spans, 3, fold_case(context))["start"].tolist() == [2048, 1024]


logit = st.integers(-3, 3).map(float) | st.just(-math.inf)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), logit, logit), min_size=1, max_size=12),
    st.integers(1, 9),
    st.integers(1, 14),
)
def test_all_spans_are_looked_at(tokens: list[tuple[str, float, float]], k: int, most: int) -> None:
    context = "".join(token for token, *_ in tokens)
    starts, ends = (np.array([token[i] for token in tokens], dtype=np.float32) for i in (1, 2))
    offsets = np.array([(i, i + 1) for i in range(len(tokens))])
    rows = best_distinct_texts(starts, ends, offsets, k, most, fold_case(context))
    assert rows.dtype == ANSWER
    expected: dict[str, tuple[float, int, int]] = {}
    for a in range(len(tokens)):
        for b in range(a, min(a + most, len(tokens))):
            if math.isfinite(starts[a] + ends[b]):
                span = (-(starts[a] + ends[b]), a, b + 1)
                expected[context[a : b + 1]] = min(span, expected.get(context[a : b + 1], span))
    best = sorted(expected.values())[:k]
    found = [(-(row["start_logit"] + row["end_logit"]), row["start"], row["end"]) for row in rows]
    assert found == best
