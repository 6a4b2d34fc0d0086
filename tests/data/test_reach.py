"""The best score within reach, against a loop over every span there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qa_lightning.data import reach
from qa_lightning.data.inspection import inspect_split
from qa_lightning.data.offsets import add_marks, trim
from qa_lightning.data.reach import Place, best_scores
from qa_lightning.data.splits import Recipe, Split
from qa_lightning.data.windows import cut
from qa_lightning.scoring.squad import score_question
from tests.data.prepared import prepare, rows
from tests.data.tokenizers import word_level

WORDS = ["the", "cat", "a", "Cat.", "well-known", "x€the", "sat", "a€b", "ΑΣ", "ας", ".", "1817"]

Case = tuple[Place, list[str], int, bool]


def obvious(place: Place, golds: list[str], max_answer_length: int, null_allowed: bool) -> tuple[float, float]:
    """Scores every text that can be predicted, one by one."""
    texts = set()
    for first, last in zip(place.first.tolist(), place.last.tolist(), strict=True):
        for start in range(first, last):
            for end in range(start, min(last, start + max_answer_length)):
                (begin, covered), (at, finish) = place.offsets[start], place.offsets[end]
                if begin < covered and at < finish and place.context[begin:finish].strip():
                    texts.add(place.context[begin:finish])
    if null_allowed or not texts:
        texts.add("")
    scores = [score_question(text, golds) for text in texts]
    return max(exact for exact, _ in scores), max(f1 for _, f1 in scores)


def place(context: str, offsets: list[tuple[int, int]], room: int, shared: int) -> Place:
    """Windows of ``room`` tokens, of which neighbours share some, over tokens as the package keeps them."""
    bounds = np.array([0, len(offsets)])
    columns = np.array(offsets, dtype=np.int32).reshape(-1, 2)
    columns = add_marks(trim(columns, bounds, [context]), bounds, [context])
    windows = cut(np.array([len(offsets)]), np.array([0]), max_length=room, doc_stride=shared, special=0)
    return Place(context, columns, windows.first, windows.last)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    characters = st.text(alphabet="aAbΣσ ath.,-€1\u0301\n\u3000", max_size=24)
    context = draw(characters | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
    edges = sorted(draw(st.lists(st.integers(0, len(context)), max_size=16)))
    # Several tokens may cover the same character, as bytes do, and a character none.
    times = [draw(st.sampled_from([1, 1, 1, 0, 2])) for _ in edges[1:]]
    spans = zip(edges[:-1], edges[1:], times, strict=True)
    offsets = [(start, end) for start, end, count in spans for _ in range(count)]
    room = draw(st.integers(1, 8))
    part = st.tuples(st.integers(0, len(context)), st.integers(0, len(context)))
    said = st.lists(st.sampled_from(context.split() or ["x"]), max_size=4).map(" ".join)
    gold = part.map(lambda ends: context[min(ends) : max(ends)]) | said | st.sampled_from(["the", ""])
    return (
        place(context, offsets, room, draw(st.integers(0, room - 1))),
        draw(st.lists(gold, max_size=3)),
        draw(st.integers(1, 9)),
        draw(st.booleans()),
    )


@settings(max_examples=300, deadline=None)
@example((place("ΑΣ ΑΣ", [(0, 1), (1, 2), (3, 4), (4, 5)], 4, 1), ["ασ"], 3, False))
@example((place("b a€a c", [(0, 1), (2, 3), (3, 4), (4, 5), (6, 7)], 5, 0), ["€"], 3, False))
@example((place("cat sat", [(0, 3), (4, 7)], 2, 0), ["sat cat"], 2, False))
@example((place("ab cd ef", [(0, 2), (3, 5), (6, 8)], 1, 0), ["ab cd"], 3, False))
@example((place("a cat", [(0, 1), (2, 5)], 2, 0), [], 2, False))
@given(cases())
def test_nothing_scores_higher_and_something_scores_as_high(case: Case) -> None:
    where, golds, max_answer_length, null_allowed = case
    found = best_scores(where, golds, max_answer_length=max_answer_length, null_allowed=null_allowed)
    assert found == obvious(*case)


def test_many_spans_are_taken_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"w{i}" for i in range(50)]
    offsets = [(i * 4, i * 4 + len(word)) for i, word in enumerate(words)]
    where = place(" ".join(word.ljust(3) for word in words), offsets, 20, 5)
    golds = ["w30 w31 w32 missing"]
    expected = obvious(where, golds, 7, False)
    assert expected == (0.0, 6 / 7)
    for at_once in (1, 21, 1 << 18):
        monkeypatch.setattr(reach, "_SPANS_AT_ONCE", at_once)
        assert best_scores(where, golds, max_answer_length=7, null_allowed=False) == expected


TOKENIZER = ("who ? ada wrote first program in london .".split(), {"max_length": 10, "doc_stride": 2})


def split(*golds: tuple[str, ...], **recipe: Any) -> Split:
    """Questions on a context whose windows are its tokens 0 to 4 and 3 to 7."""
    loaded = rows("ada wrote the first program in london .", *golds)
    return prepare(loaded, word_level(TOKENIZER[0]), max_question_length=4, **TOKENIZER[1], **recipe)


def ceiling(part: Split, seed: int = 0, *, null: bool = False, longest: int = 4) -> reach.Ceiling:
    recipe = Recipe(10, 2, 4, "first", True, null, "repair", None)
    return inspect_split(part, recipe, max_answer_length=longest, seed=seed).ceiling


def test_the_ceiling_is_the_mean_of_what_each_question_can_get() -> None:
    # "wrote the first program in" is in no window; its best part is "wrote the first program", an F1 of 6/7.
    golds = (("ada",), ("wrote the first program in",), ("grace",), ("in london", "grace"))
    assert ceiling(split(*golds)) == pytest.approx((50.0, 100 * (2 + 6 / 7) / 4, 2, 2))
    assert ceiling(split(*golds), longest=1) == pytest.approx((25.0, 100 * (1 + 0.4 + 2 / 3) / 4, 3, 3))
    # Unanswerable: null is right where it can be said, and so is what normalises to nothing.
    golds = (("ada",), ())
    assert ceiling(split(*golds, version_2_with_negative=True), null=True) == (100.0, 100.0, 0, 0)
    assert ceiling(split(*golds)) == (100.0, 100.0, 1, 1)


def test_of_many_hard_questions_a_seeded_sample_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "MOST_SEARCHED", 4)
    # Every hard question can get the same, so that any sample gives the exact mean.
    alike = split(*[("ada",)] * 5, *[("wrote the first program in",)] * 15)
    assert ceiling(alike) == pytest.approx((25.0, 25 + 75 * 6 / 7, 15, 4))
    mixed = split(*[("grace",)] * 8, *[("wrote the first program in",)] * 8)
    drawn = [ceiling(mixed, seed) for seed in range(20)]
    assert drawn == [ceiling(mixed, seed) for seed in range(20)]
    # Of four questions, so many can get 6/7, the others nothing.
    shares = [one.f1 * 28 / 600 for one in drawn]
    assert shares == pytest.approx([round(share) for share in shares])
    assert 1 < len(set(shares)) <= 5
    monkeypatch.setattr(reach, "MOST_SEARCHED", 16)
    assert ceiling(mixed) == pytest.approx((0.0, 100 * 3 / 7, 16, 16))
