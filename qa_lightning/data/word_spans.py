"""Finds the words that tokens belong to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_lightning.data.tokens import Tokens


@cache
def _border() -> Any:
    import regex

    return regex.compile(r"\b", regex.WORD | regex.VERSION1)


def unicode_word_spans(texts: Sequence[str], tokens: Tokens, most_tokens: int) -> NDArray[np.int32]:
    """Finds words by the word boundaries of Unicode (UAX #29), whatever the tokenizer takes for a word.

    Where no white space stands between words, as in Chinese, Japanese or Thai, a word is a character or a short run
    of them; what stands between words, such as a full stop, is one by itself.

    Args:
        texts: The texts.
        tokens: Their tokens.
        most_tokens: Words of more tokens are left in pieces: they are too long to be an answer.

    Returns:
        For each token the first character of the word that it begins in and the end, exclusive, of the one that it
        ends in; int32 ``[tokens, 2]``. A token that covers nothing, or is part of a word left in pieces, has its own
        offsets.
    """
    words = tokens.offsets.copy()
    for number, text in enumerate(texts):
        own = words[slice(*tokens.bounds[number : number + 2])]
        visible = np.flatnonzero(own[:, 0] < own[:, 1])
        starts, ends = own[visible].T
        borders = np.array([0, *(match.start() for match in _border().finditer(text)), len(text)])
        first = np.searchsorted(borders, starts, side="right") - 1
        last = np.searchsorted(borders, ends, side="left") - 1
        for side, word, edge in ((0, first, borders[first]), (1, last, borders[last + 1])):
            whole = np.bincount(word)[word] <= most_tokens
            own[visible[whole], side] = edge[whole]
    return words


def tokenizer_word_spans(backend: Any, texts: Sequence[str], tokens: Tokens) -> NDArray[np.int32]:
    """Finds words as the tokenizer splits texts before it makes tokens; for some tokenizers, a text is one word.

    Args:
        backend: What `tokens.plain_backend` returned.
        texts: The texts.
        tokens: Their tokens.

    Returns:
        As `unicode_word_spans`; a token that is part of no word has its own offsets.
    """
    words = tokens.offsets.copy()
    for number, encoding in enumerate(backend.encode_batch(list(texts), add_special_tokens=False)):
        own = words[slice(*tokens.bounds[number : number + 2])]
        ids = np.array([-1 if word is None else word for word in encoding.word_ids])
        if len(ids) != len(own):
            continue  # with another text beside it, this one has other tokens
        inside = np.flatnonzero((ids >= 0) & (own[:, 0] < own[:, 1]))
        _, first, word = np.unique(ids[inside], return_index=True, return_inverse=True)
        ends = np.zeros(len(first), dtype=own.dtype)
        np.maximum.at(ends, word, own[inside, 1])
        own[inside] = np.stack([own[inside][first, 0][word], ends[word]], axis=1)
    return words
