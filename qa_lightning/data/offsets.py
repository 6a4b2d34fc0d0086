"""The characters that tokens cover, without what tokenizers count in, and with what they leave out."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray


def trim_whitespace(offsets: NDArray[np.int32], bounds: NDArray[np.int64], texts: Sequence[str]) -> NDArray[np.int32]:
    """Trims the white space that tokenizers include in offsets (``▁Denver`` as " Denver").

    Args:
        offsets: Characters of each token within its text; int32 ``[tokens, 2]``.
        bounds: Where each text's tokens begin; int64 ``[texts + 1]``.
        texts: The texts.

    Returns:
        Offsets of the same shape; start and end are equal where a token covers only white space.
    """
    joined, shift = _join(bounds, texts)
    space = _classify_code_points(joined, str.isspace)
    edges = offsets + shift
    for side, outermost, step in ((0, 0, 1), (1, -1, -1)):
        moving = np.arange(len(edges))
        while len(moving):
            moving = moving[edges[moving, 0] < edges[moving, 1]]
            moving = moving[space[joined[edges[moving, side] + outermost]]]
            edges[moving, side] += step
    return (edges - shift).astype(np.int32)


def include_combining_marks(
    offsets: NDArray[np.int32], bounds: NDArray[np.int64], texts: Sequence[str]
) -> NDArray[np.int32]:
    """Extends offsets over the combining marks behind a token that the tokenizer dropped as if they were accents.

    Uncased BERT drops the vowel signs of Hindi in this way: an answer that ends with one could not be given.

    Args:
        offsets: Characters of each token within its text; int32 ``[tokens, 2]``.
        bounds: Where each text's tokens begin; int64 ``[texts + 1]``.
        texts: The texts.

    Returns:
        Offsets of the same shape.
    """
    joined, shift = _join(bounds, texts)
    mark = _classify_code_points(joined, lambda character: unicodedata.category(character).startswith("M"))
    edges = offsets + shift
    # Where the next text or token begins.
    limit = np.repeat(np.cumsum([len(text) for text in texts], dtype=np.int64), np.diff(bounds))
    limit[:-1] = np.minimum(limit[:-1], edges[1:, 0])
    moving = np.flatnonzero(edges[:, 0] < edges[:, 1])
    while len(moving):
        moving = moving[edges[moving, 1] < limit[moving]]
        moving = moving[mark[joined[edges[moving, 1]]]]
        edges[moving, 1] += 1
    return (edges - shift).astype(np.int32)


def _join(bounds: NDArray[np.int64], texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The code points of all texts, and where in them each token's text begins (``[tokens, 1]``)."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32)
    begins = np.cumsum([0, *map(len, texts)], dtype=np.int64)[:-1]
    return codes, np.repeat(begins, np.diff(bounds))[:, None]


def _classify_code_points(codes: NDArray[np.uint32], kind: Callable[[str], bool]) -> NDArray[np.bool_]:
    """A table of which code points are of a kind; the kind is computed once for each that occurs."""
    distinct = np.flatnonzero(np.bincount(codes))
    table = np.zeros(distinct.max(initial=-1) + 1, dtype=bool)
    table[distinct] = [kind(chr(code)) for code in distinct]
    return table
