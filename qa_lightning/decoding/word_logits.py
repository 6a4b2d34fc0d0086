"""Converts logits of tokens to logits of words, so that answers are made of whole words."""

from __future__ import annotations

import torch
from torch import Tensor

from qa_lightning.decoding.pairs import pair_logits, scores_pairs
from qa_lightning.decoding.spans import finite_logits

_MINUS_INFINITY = float("-inf")


def word_logits(start_logits: Tensor, end_logits: Tensor, mask: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """Computes logits with which only the first token of a word starts an answer, and only its last token ends one.

    A word starts an answer as well as the best of its tokens does, and ends one likewise. Different spans of the
    result are different characters, as those of tokens that are widened to words are not.

    A head that scores pairs is asked for the best pair of a token of the one word and a token of the other.

    Args:
        start_logits: Scores of each token as the first; floating point, ``[batch, length]``.
        end_logits: Scores of each token as the last; floating point, ``[batch, length]``, or given each token as the
            first, ``[batch, length, length]``.
        mask: Tokens that an answer may start or end at; bool ``[batch, length]``.
        words: Characters of the word that each token begins in (its start) and of the one that it ends in (its
            end); neither decreases along a window's tokens; int64 ``[batch, length, 2]``.

    Returns:
        Start and end logits, minus infinity at all other tokens; float32, in the shapes that they were given in.
    """
    starts = _best_at_first(finite_logits(start_logits, mask), mask, words[..., 0])
    if not scores_pairs(end_logits):
        ends = _best_at_first(*(tensor.flip(1) for tensor in (finite_logits(end_logits, mask), mask, words[..., 1])))
        return starts, ends.flip(1)
    pairs = finite_logits(pair_logits(start_logits, end_logits), mask[:, :, None] & mask[:, None])
    of_ends = _best_at_first(pairs.flip(2), mask.flip(1), words[..., 1].flip(1)).flip(2)
    best = _best_at_first(of_ends.mT, mask, words[..., 0]).mT
    # What the sum of start and end logit is, is the score of the pair.
    return starts, (best - starts[:, :, None]).masked_fill(best == _MINUS_INFINITY, _MINUS_INFINITY)


def _best_at_first(logits: Tensor, mask: Tensor, word: Tensor) -> Tensor:
    """The highest logit of each word's tokens, at the first of these; minus infinity elsewhere.

    Args:
        logits: ``[batch, length]``, or several for each token, ``[batch, others, length]``; minus infinity where a
            token does not count.
        mask: The tokens that count; bool ``[batch, length]``.
        word: A number for each word, that of neighbours different; ``[batch, length]``.
    """
    length = mask.shape[1]
    place = torch.arange(length, device=mask.device).expand_as(word)
    # Tokens that do not count may stand within a word: each goes with the last one before it that does.
    before = torch.where(mask, place, -1).cummax(1).values
    word = word.gather(1, before.clamp(min=0)).masked_fill(before < 0, -1)
    number = (word.diff(dim=1, prepend=word[:, :1]) != 0).long().cumsum(1)
    first = torch.full_like(number, length).scatter_reduce(1, number, torch.where(mask, place, length), "amin")
    if logits.ndim == 3:
        number, first = (index[:, None].expand_as(logits) for index in (number, first))
    best = torch.full_like(logits, _MINUS_INFINITY).scatter_reduce(-1, number, logits, "amax")
    # What no token counts in goes to a column behind the others.
    result = logits.new_full((*logits.shape[:-1], length + 1), _MINUS_INFINITY)
    return result.scatter(-1, first, best)[..., :length]
