"""What can be scored, against a loop over every span there is."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qa_lightning.data.encode import TokenizedSplit
from qa_lightning.data.offsets import include_combining_marks, trim_whitespace
from qa_lightning.data.splits import Split, SplitConfig
from qa_lightning.data.tokens import TokenIds, Tokens
from qa_lightning.data.windows import GoldSpans, cut_windows, locate_golds
from qa_lightning.inspection.ceiling import Reach, reachable
from qa_lightning.inspection.statistics import inspect_split
from qa_lightning.scoring.rules import SQUAD_V1, SQUAD_V2, scorer
from tests.data.prepared import prepare, rows
from tests.data.tokenizers import word_level

WORDS = ["the", "cat", "a", "Cat.", "well-known", "x€the", "sat", "a€b", "ΑΣ", "ας", ".", "1817", "الالتزام", "北京市"]
RULES = [SQUAD_V1, SQUAD_V2, "en", "de", "ar", "zh", "fr"]


class Case(NamedTuple):
    """A context, the characters of its tokens, how many of these a window holds and shares with the next, the golds
    of one question, and the settings."""

    context: str
    offsets: list[tuple[int, int]]
    room: int
    shared: int
    golds: list[str]
    max_answer_length: int
    null_allowed: bool
    rule: str


def tokens(case: Case) -> Tokens:
    """The tokens as the package keeps them."""
    bounds = np.array([0, len(case.offsets)])
    offsets = np.array(case.offsets, dtype=np.int32).reshape(-1, 2)
    offsets = include_combining_marks(trim_whitespace(offsets, bounds, [case.context]), bounds, [case.context])
    return Tokens(np.zeros(len(offsets), np.int32), bounds, offsets)


def obvious(case: Case) -> tuple[float, float]:
    """The best scores: those of every text that can be predicted, one by one."""
    made, texts = tokens(case).offsets, set()
    for first in range(0, len(made), case.room - case.shared):
        last = min(len(made), first + case.room)
        for start in range(first, last):
            for end in range(start, min(last, start + case.max_answer_length)):
                (begin, covered), (at, finish) = made[start], made[end]
                if begin < covered and at < finish and case.context[begin:finish].strip():
                    texts.add(case.context[begin:finish])
    if case.null_allowed or not texts:
        texts.add("")
    scores = [scorer(case.rule)(text, case.golds) for text in texts]
    return 100 * max(exact for exact, _ in scores), 100 * max(f1 for _, f1 in scores)


def reach_of(case: Case) -> Reach:
    made = tokens(case)
    at = [(case.context.find(gold), len(gold)) for gold in case.golds if gold and gold in case.context]
    bounds, context = np.array([0, len(at)]), np.zeros(len(at), dtype=np.int64)
    starts, lengths = np.array(at, dtype=np.int64).reshape(-1, 2).T
    spans = locate_golds(starts, starts + lengths, context, bounds, made, np.array([len(case.context)]))
    zero, unlabelled = np.zeros(1, dtype=np.int64), np.ones(1, dtype=bool)
    encoded = TokenizedSplit(
        cast(Any, None), TokenIds(made.ids, made.bounds), zero, zero, made, zero, GoldSpans.none(1), unlabelled
    )
    return reachable(
        [case.context],
        [0],
        [case.golds],
        encoded,
        cut_windows(made.lengths, zero, max_length=case.room, doc_stride=case.shared, special=0),
        spans,
        max_answer_length=case.max_answer_length,
        null_allowed=case.null_allowed,
        rule=case.rule,
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    characters = st.text(alphabet="aAbΣσ ath.,-€1\u0301\n\u3000ال京", max_size=24)
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
    return Case(
        context,
        offsets,
        room,
        draw(st.integers(0, room - 1)),
        draw(st.lists(gold, max_size=3)),
        draw(st.integers(1, 9)),
        draw(st.booleans()),
        draw(st.sampled_from(RULES)),
    )


@settings(max_examples=400, deadline=None)
@example(Case("ΑΣ ΑΣ", [(0, 1), (1, 2), (3, 4), (4, 5)], 4, 1, ["ασ"], 3, False, SQUAD_V2))
@example(Case("b a€a c", [(0, 1), (2, 3), (3, 4), (4, 5), (6, 7)], 5, 0, ["€"], 3, False, SQUAD_V2))
@example(Case("cat sat", [(0, 3), (4, 7)], 2, 0, ["sat cat"], 2, False, SQUAD_V2))
@example(Case("ab cd ef", [(0, 2), (3, 5), (6, 8)], 1, 0, ["ab cd"], 3, False, SQUAD_V2))
@example(Case("a cat", [(0, 1), (2, 5)], 2, 0, [], 2, False, SQUAD_V1))
@example(Case("cat sat", [(0, 2), (3, 3), (4, 6)], 2, 0, ["cat sat"], 2, False, SQUAD_V1))
@example(Case("cat sat", [(0, 1), (2, 2), (4, 4), (5, 7)], 2, 0, ["cat sat"], 2, False, SQUAD_V1))
@example(Case("الالتزام", [(0, 1), (1, 8)], 2, 0, ["ل تزام"], 1, False, "ar"))
@given(cases())
def test_the_best_scores_lie_between(case: Case) -> None:
    exact, f1 = obvious(case)
    found = reach_of(case)
    assert found.exact_of_golds <= exact <= found.exact_at_most
    assert found.f1_of_golds - 1e-9 <= f1 <= found.f1_at_most + 1e-9
    assert found.exact_of_golds <= found.f1_of_golds + 1e-9 or case.rule != SQUAD_V2
    assert found.f1_at_most <= 100 + 1e-9


TOKENIZER = ("who ? ada wrote first program in london .".split(), {"max_length": 10, "doc_stride": 2})


def split(*golds: tuple[str, ...], **config: Any) -> Split:
    """Questions on a context whose windows are its tokens 0 to 4 and 3 to 7."""
    loaded = rows("ada wrote the first program in london .", *golds)
    return prepare(loaded, word_level(TOKENIZER[0]), max_question_length=4, **TOKENIZER[1], **config)


def reach(part: Split, *, null: bool = False, longest: int = 4, rule: str = SQUAD_V2) -> Reach:
    config = SplitConfig(
        max_length=10,
        doc_stride=2,
        max_question_length=4,
        answers="first",
        allow_impossible_windows=True,
        version_2_with_negative=null,
        on_misaligned="repair",
        cache_dir=None,
    )
    return inspect_split(part, config, max_answer_length=longest, rule=rule).reach


def test_they_are_means_of_what_each_question_can_get() -> None:
    # "wrote the first program in" is in no window; its best part is "wrote the first program", an F1 of 6/7.
    golds = (("ada",), ("wrote the first program in",), ("grace",), ("in london", "grace"))
    parts = 100 * (2 + 6 / 7) / 4
    assert reach(split(*golds)) == pytest.approx((50, parts, 75, 75))
    # Of one token each: "wrote" of four words, "in" of two.
    assert reach(split(*golds), longest=1) == pytest.approx(
        (25, 100 * (1 + 0.4 + 2 / 3) / 4, 25, 100 * (1 + 0.4 + 2 / 3) / 4)
    )
    # Unanswerable: null is right where it can be said; where not, an answer that normalises to nothing would be.
    golds = (("ada",), ())
    assert reach(split(*golds, version_2_with_negative=True), null=True) == (100, 100, 100, 100)
    assert reach(split(*golds)) == (50, 50, 100, 100)


def test_by_the_rule_of_a_language() -> None:
    golds = (("the first",), ("first",))
    # The first token of the gold is all of it that can be answered, though the second one would be better.
    assert reach(split(*golds), longest=1) == (50, 50, 100, 100)
    # In German, "the" is a word.
    found = reach(split(*golds), longest=1, rule="de")
    assert found == pytest.approx((50, 100 * (1 + 2 / 3) / 2, 50, 100 * (1 + 2 / 3) / 2))


def test_a_gold_elsewhere_in_its_context_is_not_the_same_as_one_that_is_nowhere() -> None:
    nowhere, scattered = ("grace hopper",), ("london ada",)
    assert reach(split(nowhere)) == (0, 0, 0, 0)
    assert reach(split(scattered)) == (0, 0, 100, 100)
    assert reach(split(("london first wrote program",))) == (0, 0, 0, 100)
