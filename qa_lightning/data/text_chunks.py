"""Cuts columns of texts into chunks that are small enough to be tokenised, or searched, at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

CHUNK = 250_000
"""Bytes of text encoded at a time: enough for all cores, little enough that the tokenizer's objects stay small."""

Texts = Any
"""A ``pa.StringArray``, or a ``pa.DictionaryArray`` of strings."""


def split_into_blocks(sizes: Any, limit: int) -> Iterator[tuple[int, int]]:
    """Splits items into blocks of about ``limit``; only the first item of a block can take it above that.

    Args:
        sizes: The size of each item.
        limit: The size of a block.

    Returns:
        The first item of each block and one past its last.
    """
    run = np.cumsum(sizes, dtype=np.int64) // limit
    return pairwise(np.flatnonzero(np.diff(run, prepend=-1, append=-1)).tolist())


def text_chunks(columns: Sequence[Texts]) -> Iterator[list[list[str]]]:
    """The texts of some rows after the other, column by column."""
    for begin, end in split_into_blocks(sum(map(byte_sizes, columns)), CHUNK):
        yield [column[begin:end].to_pylist() for column in columns]


def byte_sizes(texts: Texts) -> NDArray[np.int32]:
    """Bytes of each text; int32 ``[texts]``."""
    if isinstance(texts, pa.DictionaryArray):
        return np.asarray(pc.binary_length(texts.dictionary))[texts.indices]
    return np.asarray(pc.binary_length(texts))
