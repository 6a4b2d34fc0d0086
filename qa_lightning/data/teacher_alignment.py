"""Carries predictions over the tokens of one tokenizer to those of another, through the characters they cover."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.encode import TokenizedSplit
from qa_lightning.data.windows import Windows, locate_golds
from qa_lightning.utils.arrays import IntArray


def windows_over_same_characters(
    dataset: WindowDataset, encoded: TokenizedSplit, contexts: pa.DictionaryArray
) -> Windows:
    """Cuts, of other tokens of the same examples, one window for each of a data set's: over the same characters.

    Args:
        dataset: The windows.
        encoded: The same examples in the tokens of another tokenizer.
        contexts: The context of each example.

    Returns:
        The windows, which hold every token that shares a character with the data set's.
    """
    theirs = dataset.windows
    ranges = np.array([_range(dataset.encoded, theirs, row) for row in range(len(theirs))], np.int64).reshape(-1, 2)
    characters = np.zeros(len(encoded.contexts.lengths), dtype=np.int64)
    of_example = np.asarray(pc.utf8_length(contexts.dictionary))[np.asarray(contexts.indices)]
    characters[encoded.context_index] = of_example
    covered = locate_golds(
        *(ranges[:, 0], ranges[:, 1], encoded.context_index[theirs.example], np.arange(len(theirs) + 1)),
        *(encoded.contexts, characters),
    )
    first, last = np.zeros(len(theirs), np.int32), np.zeros(len(theirs), np.int32)
    found = np.diff(covered.bounds) > 0
    first[found], last[found] = covered.first, covered.last + 1
    return replace(theirs, first=first, last=last)


def _range(encoded: TokenizedSplit, windows: Windows, row: int) -> tuple[int, int]:
    """First character of a window's context, and its end."""
    offsets = context_offsets(encoded, windows, row)
    visible = offsets[offsets[:, 0] < offsets[:, 1]]
    return (int(visible[:, 0].min()), int(visible[:, 1].max())) if len(visible) else (0, 0)


def context_offsets(encoded: TokenizedSplit, windows: Windows, row: int) -> NDArray[np.int32]:
    """The characters that each of a window's context tokens covers, end exclusive; int32 ``[tokens, 2]``."""
    at = encoded.contexts.bounds[encoded.context_index[windows.example[row]]]
    return encoded.contexts.offsets[at + windows.first[row] : at + windows.last[row]]


def tokens_at(characters: IntArray, offsets: NDArray[np.int32], *, last: bool) -> NDArray[np.int64]:
    """Finds the token that holds each character.

    Args:
        characters: Characters of a text; ``[characters]``.
        offsets: Characters that each token of the text covers, end exclusive, in its order; int32 ``[tokens, 2]``.
        last: Whether to take the last of several tokens that hold it, as the bytes of a letter do; else the first.

    Returns:
        The tokens; -1 where none holds the character; int64 ``[characters]``.
    """
    visible = np.flatnonzero(offsets[:, 0] < offsets[:, 1])
    if not len(visible):
        return np.full(len(characters), -1, dtype=np.int64)
    begins, ends = np.maximum.accumulate(offsets[visible]).T
    if last:
        place = np.searchsorted(begins, characters, side="right") - 1
    else:
        place = np.searchsorted(ends, characters, side="right")
    token = visible[place.clip(0, len(visible) - 1)]
    holds = (offsets[token, 0] <= characters) & (characters < offsets[token, 1])
    return np.where(holds, token, -1)


def align_probabilities(
    probabilities: NDArray[np.float64], theirs: NDArray[np.int32], ours: NDArray[np.int32], *, ends: bool
) -> NDArray[np.float64]:
    """Carries probabilities of tokens over to the tokens of another tokenizer.

    Args:
        probabilities: Of each token and, last, of null; ``[their tokens + 1]``.
        theirs: Characters that each of these tokens covers, end exclusive; int32 ``[their tokens, 2]``.
        ours: Those of the other tokenizer's tokens; int32 ``[our tokens, 2]``.
        ends: Whether they are of an answer's end, which is a token's last character, and not of its start.

    Returns:
        Probabilities of our tokens and, last, of null, which stays null; they sum to 1, since what falls on no token is
        left out; all of them are 0 where nothing is left. Float64 ``[our tokens + 1]``.
    """
    characters = theirs[:, 1] - 1 if ends else theirs[:, 0]
    to = np.where(theirs[:, 0] < theirs[:, 1], tokens_at(characters, ours, last=ends), -1)
    carried = np.bincount(to[to >= 0], probabilities[:-1][to >= 0], minlength=len(ours))
    carried = np.append(carried, probabilities[-1])
    total = carried.sum()
    return carried / total if total > 0 else np.zeros_like(carried)
