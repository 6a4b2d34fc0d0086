from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lightning.data import windows as windows_module
from qa_lightning.data.tokens import Tokens, plain_backend
from qa_lightning.data.windows import (
    GoldSpans,
    Windows,
    add_gold_windows,
    concatenated_ranges,
    cut_windows,
    has_whole_gold,
    locate_golds,
    window_gold_pairs,
)
from qa_lightning.records import WindowConfig
from qa_lightning.utils.errors import UserError
from tests.data.tokenizers import word_level


def as_tuples(windows: Windows) -> list[tuple[int, int, int]]:
    return list(zip(windows.example.tolist(), windows.first.tolist(), windows.last.tolist(), strict=True))


# Cutting


def test_cut_by_hand() -> None:
    # Room for 10 - 3 - 2 = 5 and 10 - 3 - 4 = 3 context tokens, steps of 4 and 2.
    windows = cut_windows(np.array([5, 6, 0, 9, 4]), np.array([2, 2, 2, 2, 4]), max_length=10, doc_stride=1, special=3)
    assert as_tuples(windows) == [
        (0, 0, 5),
        (1, 0, 5),
        (1, 4, 6),
        (2, 0, 0),
        (3, 0, 5),
        (3, 4, 9),
        (4, 0, 3),
        (4, 2, 4),
    ]
    assert windows.example.dtype == windows.first.dtype == windows.last.dtype == np.int32
    assert len(windows) == 8
    assert as_tuples(windows.select(windows.first == 4)) == [(1, 4, 6), (3, 4, 9)]


def test_cut_of_nothing() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert len(cut_windows(none, none, max_length=10, doc_stride=1, special=3)) == 0


def slow_cut(context: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Steps forward until a window reaches the end."""
    spans = [(0, min(room, context))]
    while spans[-1][1] < context:
        start = spans[-1][0] + room - stride
        spans.append((start, min(start + room, context)))
    return spans


sizes = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=6)


@given(sizes, st.integers(0, 4), st.integers(0, 8), st.integers(1, 9), st.integers(1, 9))
def test_cut_is_the_loop(examples: list[tuple[int, int]], special: int, stride: int, longest: int, more: int) -> None:
    max_length = longest + special + stride + more
    contexts = np.array([context for context, _ in examples], dtype=np.int64)
    questions = np.array([min(question, longest) for _, question in examples], dtype=np.int64)
    WindowConfig(max_length, stride, longest).check(special)
    windows = cut_windows(contexts, questions, max_length=max_length, doc_stride=stride, special=special)
    assert as_tuples(windows) == [
        (row, *span)
        for row, (context, question) in enumerate(zip(contexts.tolist(), questions.tolist(), strict=True))
        for span in slow_cut(context, max_length - special - question, stride)
    ]


@settings(max_examples=50)
@given(st.integers(0, 40), st.integers(1, 9), st.integers(0, 8), st.integers(1, 9))
def test_cut_is_the_tokenizers_truncation(context: int, question: int, stride: int, more: int) -> None:
    backend = plain_backend(word_level(["a", "q"]))
    max_length = question + 3 + stride + more
    backend.enable_truncation(max_length, stride=stride, strategy="only_second")
    encoding = backend.encode("q " * question, "a " * context)
    expected = [
        [start for (start, _), of in zip(window.offsets, window.sequence_ids, strict=True) if of == 1]
        for window in (encoding, *encoding.overflowing)
    ]
    windows = cut_windows(
        np.array([context]), np.array([question]), max_length=max_length, doc_stride=stride, special=3
    )
    assert [list(range(2 * first, 2 * last, 2)) for _, first, last in as_tuples(windows)] == expected


def test_lengths_must_let_the_context_move_on() -> None:
    WindowConfig(384, 128, 64).check(3)
    WindowConfig(196, 128, 64).check(3)
    with pytest.raises(UserError, match=r"doc_stride \(128\) leaves no room .* max_length \(195\) .* = 128 context"):
        WindowConfig(195, 128, 64).check(3)
    with pytest.raises(UserError, match="doc_stride must be at least 0, not -1"):
        WindowConfig(384, -1, 64).check(3)
    with pytest.raises(UserError, match="max_question_length must be at least 1, not 0"):
        WindowConfig(384, 128, 0).check(3)


# Locating


def tokens_of(*contexts: list[tuple[int, int]]) -> Tokens:
    offsets = [offset for context in contexts for offset in context]
    bounds = np.cumsum([0, *map(len, contexts)])
    return Tokens(np.zeros(len(offsets), np.int32), bounds, np.array(offsets, np.int32).reshape(-1, 2))


def found(golds: GoldSpans) -> list[list[tuple[int, int]]]:
    """The golds of each example."""
    spans = list(zip(golds.first.tolist(), golds.last.tolist(), strict=True))
    return [spans[a:b] for a, b in itertools.pairwise(golds.bounds.tolist())]


def locate_all(golds: list[list[tuple[int, int]]], contexts: list[int], tokens: Tokens, sizes: list[int]) -> Any:
    flat = np.array([gold for of_example in golds for gold in of_example], dtype=np.int64).reshape(-1, 2)
    counts = [len(of_example) for of_example in golds]
    return locate_golds(
        flat[:, 0],
        flat[:, 1],
        np.repeat(np.array(contexts, dtype=np.int64), counts),
        np.cumsum([0, *counts]),
        tokens,
        np.array(sizes, dtype=np.int64),
    )


def test_locate_by_hand() -> None:
    # "Ada wrote  it" in pieces, with a token for the second space; then a context without tokens; then "né".
    tokens = tokens_of([(0, 3), (4, 7), (7, 9), (10, 10), (11, 13)], [], [(0, 1), (1, 2), (1, 2)])
    golds = [
        [(0, 3), (4, 9), (4, 13)],  # whole words
        [(1, 2), (5, 8), (8, 12)],  # inside tokens: those that it touches
        [],
        [(3, 11), (0, 4), (3, 12), (9, 13)],  # white space at its edges changes nothing
        [(9, 11), (3, 4)],  # only white space: no token
        [(1, 2), (0, 1), (0, 2)],  # a character of two tokens
        [(0, 1)],  # in the context without tokens
    ]
    located = locate_all(golds, [0, 0, 0, 0, 0, 2, 1], tokens, [13, 1, 2])
    assert found(located) == [
        [(0, 0), (1, 2), (1, 4)],
        [(0, 0), (1, 2), (2, 4)],
        [],
        [(1, 2), (0, 0), (1, 4), (4, 4)],
        [],
        [(1, 2), (0, 0), (0, 2)],
        [],
    ]
    assert located.first.dtype == located.last.dtype == np.int32


def test_locate_without_golds_or_tokens() -> None:
    assert found(locate_all([[], []], [0, 0], tokens_of([(0, 1)]), [1])) == [[], []]
    assert found(locate_all([[(0, 1)]], [0], tokens_of([]), [1])) == [[]]


@st.composite
def contexts_and_golds(draw: st.DrawFn) -> tuple[list[list[tuple[int, int]]], list[int], list[tuple[int, int, int]]]:
    """Contexts whose tokens go forward, may share characters, leave some out, or cover none."""
    contexts, sizes, golds = [], [], []
    for number in range(draw(st.integers(1, 5))):
        offsets, start, end = [], 0, 0
        for move, length in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8)):
            start += move
            end = max(end, start + length)
            offsets.append((start, start if length == 0 else end))
        size = end + start + draw(st.integers(0, 2)) + 1
        contexts.append(offsets)
        sizes.append(size)
        for first, last in draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(1, 6)), max_size=4)):
            golds.append((number, first, min(first + last, size)))
    return contexts, sizes, draw(st.permutations(golds))


@given(contexts_and_golds(), st.sampled_from([1, 3, 10, windows_module.BLOCK]))
def test_locate_is_a_search_through_all_tokens(case: Any, block: int) -> None:
    contexts, sizes, golds = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "BLOCK", block)
        located = locate_all([[gold[1:]] for gold in golds], [gold[0] for gold in golds], tokens_of(*contexts), sizes)
    expected = []
    for number, start, end in golds:
        touched = [i for i, (a, b) in enumerate(contexts[number]) if a < b and a < end and b > start]
        expected.append([(touched[0], touched[-1])] if touched else [])
    assert found(located) == expected


# Holding


def test_holds_by_hand() -> None:
    windows = Windows(*(np.array(column, np.int32) for column in ([0, 0, 1, 2], [0, 3, 0, 0], [5, 8, 5, 5])))
    golds = GoldSpans(np.array([4, 3, 0], np.int32), np.array([4, 6, 5], np.int32), np.array([0, 2, 2, 3]))
    window, gold, whole = window_gold_pairs(windows, golds)
    assert window.tolist() == [0, 0, 1, 1, 3]
    assert gold.tolist() == [0, 1, 0, 1, 2]
    assert whole.tolist() == [True, False, True, True, False]


span = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda pair: (min(pair), max(pair)))


@given(st.lists(st.lists(span, max_size=3), min_size=1, max_size=4), st.data())
def test_holds_is_a_double_loop(golds: list[list[tuple[int, int]]], data: st.DataObject) -> None:
    windows = data.draw(st.lists(st.tuples(st.integers(0, len(golds) - 1), span), max_size=6))
    flat = [gold for of_example in golds for gold in of_example]
    columns = window_gold_pairs(
        Windows(*np.array([(row, a, b) for row, (a, b) in windows], np.int32).reshape(-1, 3).T),
        GoldSpans(*np.array(flat, np.int32).reshape(-1, 2).T, np.cumsum([0, *map(len, golds)])),
    )
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == [
        (number, sum(map(len, golds[:row])) + i, a <= first and last < b)
        for number, (row, (a, b)) in enumerate(windows)
        for i, (first, last) in enumerate(golds[row])
    ]


# Adding


@given(
    st.lists(st.tuples(st.integers(0, 40), st.lists(st.tuples(st.integers(0, 39), st.integers(0, 9)))), max_size=5),
    st.integers(0, 4),
    st.integers(1, 6),
)
def test_a_gold_that_fits_is_held_after_all(examples: Any, stride: int, more: int) -> None:
    room = stride + more
    lengths = np.array([length for length, _ in examples], dtype=np.int64)
    spans = [
        [(a, min(a + size, length - 1)) for a, size in golds if a < length] if length else []
        for length, golds in examples
    ]
    flat = [span for of_example in spans for span in of_example]
    golds = GoldSpans(*np.array(flat, np.int32).reshape(-1, 2).T, np.cumsum([0, *map(len, spans)]))
    none = np.zeros(len(lengths), dtype=np.int64)
    regular = cut_windows(lengths, none, max_length=room, doc_stride=stride, special=0)
    windows, added = add_gold_windows(regular, golds, lengths, none + room)

    fits = [any(b - a < room for a, b in of_example) for of_example in spans]
    assert has_whole_gold(windows, golds).tolist() == fits
    assert added.tolist() == [
        row for row, (fit, was) in enumerate(zip(fits, has_whole_gold(regular, golds), strict=True)) if fit > was
    ]
    assert as_tuples(windows) == sorted(as_tuples(windows))
    assert all(last - first <= room and last <= lengths[row] for row, first, last in as_tuples(windows))
    rest = as_tuples(windows)
    for window in as_tuples(regular):
        rest.remove(window)
    assert [row for row, _, _ in rest] == added.tolist()
    for row, first, last in rest:
        a, b = next((a, b) for a, b in spans[row] if b - a < room)
        before, behind = a - first, last - 1 - b
        assert abs(before - behind) <= 1 or first == 0 or last == lengths[row]


def test_ranges() -> None:
    assert concatenated_ranges(np.array([2, 0, 3])).tolist() == [0, 1, 0, 1, 2]
    assert concatenated_ranges(np.zeros(0, dtype=np.int64)).tolist() == []
