"""Finds the spans of words that recur in a window of text (Ram et al., 2021): comparisons of whole columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_lightning.data.encode import TokenizedSplit
from qa_lightning.data.text_chunks import split_into_blocks
from qa_lightning.data.windows import Windows, concatenated_ranges
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError

BLOCK = 1 << 19
"""Tokens of the windows that are searched at a time."""

MIN_WINDOWS = 5
"""Windows that a common token is in, at least: in few windows, no share of them says much."""


@dataclass(frozen=True)
class RecurringSpans:
    """Which recurring spans are selected.

    Attributes:
        max_tokens: Most tokens of a span.
        max_common: A token that is in more than this share of the windows is a common one, as articles and
            prepositions are. A span of nothing but common tokens and punctuation does not count.
    """

    max_tokens: int = 10
    max_common: float = 0.1

    def __post_init__(self) -> None:
        check_between("data.recurring_spans.max_tokens", self.max_tokens, 1)
        if not 0 < self.max_common <= 1:
            raise UserError(f"data.recurring_spans.max_common is a share from 0 to 1, not {self.max_common}")


@dataclass(frozen=True)
class Occurrences:
    """The occurrences of recurring spans, those of a span next to each other, as are the spans of a window.

    Attributes:
        first: The first token of each occurrence, in its document; int64 ``[occurrences]``.
        length: Its tokens; int64 ``[occurrences]``.
        bounds: Span ``i`` has the occurrences ``bounds[i]`` to ``bounds[i + 1]``; int64 ``[spans + 1]``.
        spans: Window ``i`` has the spans ``spans[i]`` to ``spans[i + 1]``; int64 ``[windows + 1]``.
    """

    first: NDArray[np.int64]
    length: NDArray[np.int64]
    bounds: NDArray[np.int64]
    spans: NDArray[np.int64]

    def of_windows_with_spans(self) -> Occurrences:
        """The same where windows without a span are left out."""
        return replace(self, spans=np.append(self.spans[:-1][np.diff(self.spans) > 0], self.spans[-1]))


@dataclass(frozen=True)
class TokenKinds:
    """What is known of the tokens of some windows, one window behind the other.

    Attributes:
        ids: Token ids; ``[tokens]``.
        window: The window of each; int64 ``[tokens]``.
        begins: Whether a word begins with it, which punctuation is not; bool ``[tokens]``.
        ends: Whether such a word ends with it; bool ``[tokens]``.
        says: Whether it is part of a word, and not common; bool ``[tokens]``.
    """

    ids: NDArray[Any]
    window: NDArray[np.int64]
    begins: NDArray[np.bool_]
    ends: NDArray[np.bool_]
    says: NDArray[np.bool_]


def find_recurring_spans(
    encoded: TokenizedSplit, windows: Windows, tokenizer: Any, settings: RecurringSpans
) -> Occurrences:
    """Finds the recurring spans of all windows.

    Args:
        encoded: The tokens of the texts, with the words that they belong to.
        windows: The windows, each an example of its own.
        tokenizer: The tokenizer, which says what is punctuation.
        settings: Which spans count.
    """
    tokens, words = encoded.contexts, encoded.words
    assert words is not None
    letters = _tokens_of_words(tokens.ids, tokenizer)
    visible = (tokens.offsets[:, 0] < tokens.offsets[:, 1]) & letters[tokens.ids]
    begins, ends = visible & (words[:, 0] == tokens.offsets[:, 0]), visible & (words[:, 1] == tokens.offsets[:, 1])
    lengths = windows.last.astype(np.int64) - windows.first
    base = tokens.bounds[encoded.context_index] + windows.first
    says = letters & ~_common_tokens(tokens.ids, base, lengths, settings.max_common, len(letters))
    found = []
    for first, last in split_into_blocks(lengths, BLOCK):
        counts = lengths[first:last]
        at = np.repeat(base[first:last], counts) + concatenated_ranges(counts)
        ids = tokens.ids[at]
        kinds = TokenKinds(ids, np.repeat(np.arange(first, last), counts), begins[at], ends[at], says[ids])
        start, length, span = search(kinds, settings.max_tokens)
        in_document = at - tokens.bounds[encoded.context_index[kinds.window]]
        found.append(np.stack([kinds.window[start], span, in_document[start], length]))
    window, span, start, length = np.concatenate(found, axis=1)
    new = np.flatnonzero(np.diff(window, prepend=-1).astype(bool) | np.diff(span, prepend=-1).astype(bool))
    of_window = np.bincount(window[new], minlength=len(windows))
    return Occurrences(start, length, np.append(new, len(window)), np.concatenate([[0], np.cumsum(of_window)]))


def search(tokens: TokenKinds, max_tokens: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Finds the recurring spans of some windows.

    A span recurs where the same tokens stand at least twice in a window, begin and end as words do, and say something.
    Those that overlap with themselves are left out, and those that stand less than twice outside longer ones.

    Args:
        tokens: The tokens.
        max_tokens: Most tokens of a span.

    Returns:
        The first token of each occurrence, how many it has, and a number of its span; int64 ``[occurrences]`` each,
        sorted by window, span and first token.
    """
    said = np.concatenate([[0], np.cumsum(tokens.says)])
    last_of_window = np.searchsorted(tokens.window, tokens.window, side="right") - 1
    _, single = np.unique(tokens.ids, return_inverse=True)
    start = np.arange(len(tokens.ids))
    key = tokens.window.astype(np.int64)
    starts, lengths, spans = [start[:0]], [start[:0]], [start[:0]]
    numbered = 0
    for length in range(1, max_tokens + 1):
        inside = start + length - 1 <= last_of_window[start]
        start, key = start[inside], key[inside]
        # What recurs with one token more recurs without it.
        joined = key * (single.max(initial=0) + 1) + single[start + length - 1]
        _, key, count = np.unique(joined, return_inverse=True, return_counts=True)
        again = count[key] > 1
        start, key = start[again], key[again]
        if not len(start):
            break
        end = start + length
        whole = tokens.begins[start] & tokens.ends[end - 1] & (said[end] > said[start])
        starts.append(start[whole])
        lengths.append(np.full(int(whole.sum()), length))
        spans.append(key[whole] + numbered)
        numbered += int(key.max()) + 1
    return _leave_out(np.concatenate(starts), np.concatenate(lengths), np.concatenate(spans), tokens.window)


def _leave_out(
    start: NDArray[np.int64], length: NDArray[np.int64], span: NDArray[np.int64], window: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Leaves out the spans that overlap with themselves, and those that are parts of longer ones; sorts the others."""
    order = np.lexsort((start, span, window[start]))
    start, length, span = start[order], length[order], span[order]
    same = np.diff(span, prepend=-1) == 0
    overlaps = np.bincount(span, same & (np.diff(start, prepend=0) < length)) > 0
    apart = ((np.bincount(span) > 1) & ~overlaps)[span]
    start, length, span = start[apart], length[apart], span[apart]
    end = start + length
    # How far any occurrence reaches that begins at a token, and any that begins before it.
    reach = np.zeros(len(window) + 1, dtype=np.int64)
    np.maximum.at(reach, start, end)
    before = np.concatenate([[0], np.maximum.accumulate(reach)[:-1]])
    outside = (before[start] < end) & (reach[start] == end)
    keep = (np.bincount(span, outside) > 1)[span]
    return start[keep], length[keep], span[keep]


def _tokens_of_words(ids: NDArray[np.int32], tokenizer: Any) -> NDArray[np.bool_]:
    """Which ids are tokens with a letter or a digit; bool ``[vocabulary]``."""
    known = np.zeros(max(len(tokenizer), int(ids.max(initial=0)) + 1), dtype=bool)
    for number in np.unique(ids).tolist():
        known[number] = any(map(str.isalnum, tokenizer.decode([number])))
    return known


def _common_tokens(
    ids: NDArray[np.int32], base: NDArray[np.int64], lengths: NDArray[np.int64], share: float, size: int
) -> NDArray[np.bool_]:
    """Which ids are in more than a share of the windows; bool ``[size]``."""
    windows = np.zeros(size, dtype=np.int64)
    for first, last in split_into_blocks(lengths, BLOCK):
        counts = lengths[first:last]
        at = np.repeat(base[first:last], counts) + concatenated_ranges(counts)
        pairs = np.unique(np.repeat(np.arange(last - first), counts) * size + ids[at])
        windows += np.bincount(pairs % size, minlength=size)
    return windows > max(MIN_WINDOWS, share * len(lengths))
