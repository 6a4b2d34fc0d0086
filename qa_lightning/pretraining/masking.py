"""Chooses the tokens that a masked language model predicts, and what stands in their place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qa_lightning.pretraining.random_numbers import hash_places, uniform_places
from qa_lightning.utils.errors import UserError

NO_LABEL = -100
"""The label of a token that is not predicted."""


@dataclass(frozen=True)
class Masking:
    """How tokens are masked; by default as BERT does (Devlin et al., 2019).

    Attributes:
        share: Share of the tokens of each window that are predicted, at least one.
        mask: Share of these in whose place the mask token stands.
        random: Share of these in whose place a random token stands; the others stay as they are.
        whole_words: Whether words are chosen as a whole, until so many tokens are: a word's pieces are easily guessed
            from each other.
    """

    share: float = 0.15
    mask: float = 0.8
    random: float = 0.1
    whole_words: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"data.masking.share must be above 0 and below 1, such as 0.15, not {self.share}")
        for name in ("mask", "random"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"data.masking.{name} is a share from 0 to 1, not {getattr(self, name)}")
        if self.mask + self.random > 1:
            raise UserError(
                f"data.masking: mask ({self.mask}) and random ({self.random}) are shares of the same tokens, and "
                "together more than 1; lower one"
            )

    def count(self, tokens: Tensor) -> Tensor:
        """How many of so many tokens are predicted; int64, 0 where there is no token."""
        return (self.share * tokens.double() + 0.5).long().clamp(min=1).minimum(tokens)

    def most(self, tokens: NDArray[np.int64], longest_words: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many tokens are predicted at most, as those of a word are chosen together; int64 ``[windows]``.

        Args:
            tokens: Tokens of each window; ``[windows]``.
            longest_words: How many of them the longest word of each window has; ``[windows]``.
        """
        counts = self.count(torch.from_numpy(tokens)).numpy()
        return np.minimum(counts + longest_words - 1, tokens) if self.whole_words else counts

    def mean_count(self, tokens: NDArray[np.int64], batches: int) -> float:
        """How many tokens are predicted in a batch of training, on average.

        Args:
            tokens: Tokens of each window; ``[windows]``.
            batches: How many batches the windows are cut into.
        """
        return max(1.0, int(self.count(torch.from_numpy(tokens)).sum()) / max(1, batches))


@dataclass(frozen=True)
class Draw:
    """What the random numbers of a batch depend on.

    Attributes:
        seed: The seed of the training.
        epoch: The number of the epoch; -1 for an evaluation.
        windows: The number of each window; int64 ``[batch]``.
    """

    seed: int
    epoch: int
    windows: Tensor


def choose_tokens(candidates: Tensor, words: Tensor, counts: Tensor, draw: Draw) -> Tensor:
    """Chooses tokens by chance, those of a word together.

    Words are drawn one after the other until enough tokens are: where words have several, it can be a few more.

    Args:
        candidates: Tokens that may be chosen; bool ``[batch, length]``.
        words: A number that the tokens of a word share with no others of their window; int64 ``[batch, length]``.
        counts: How many tokens to choose; int64 ``[batch]``.
        draw: What the choice depends on.

    Returns:
        The tokens; bool ``[batch, length]``.
    """
    turn = hash_places(draw.seed, draw.epoch, 0, draw.windows[:, None], words)
    turn = torch.where(candidates, turn, torch.iinfo(torch.int64).max)
    turn, order = torch.sort(turn, dim=1, stable=True)
    place = torch.arange(turn.shape[1], device=turn.device).expand_as(turn)
    begins = torch.ones_like(turn, dtype=torch.bool)
    begins[:, 1:] = turn[:, 1:] != turn[:, :-1]
    before = torch.where(begins, place, 0).cummax(dim=1).values  # tokens of the words that were drawn before
    return torch.zeros_like(candidates).scatter(1, order, before < counts[:, None]) & candidates


def replace_tokens(
    ids: Tensor, chosen: Tensor, places: Tensor, masking: Masking, draw: Draw, mask_id: int, ordinary: Tensor
) -> Tensor:
    """Puts the mask token, a random token or the token itself into the place of each chosen one.

    Args:
        ids: Token ids; int64 ``[batch, length]``.
        chosen: The tokens to predict; bool ``[batch, length]``.
        places: The number of each token in its window; int64 ``[batch, length]``.
        masking: The shares of the three.
        draw: What the choice depends on.
        mask_id: The mask token.
        ordinary: The ids of the tokens that are drawn from; int64 ``[ids]``.

    Returns:
        The ids that the model is given; int64 ``[batch, length]``.
    """
    windows = draw.windows[:, None]
    kind = uniform_places(draw.seed, draw.epoch, 1, windows, places)
    drawn = ordinary[hash_places(draw.seed, draw.epoch, 2, windows, places) % len(ordinary)]
    other = torch.where(kind < masking.mask + masking.random, drawn, ids)
    return torch.where(chosen, torch.where(kind < masking.mask, mask_id, other), ids)
