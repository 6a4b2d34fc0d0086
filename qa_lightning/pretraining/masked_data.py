"""Batches of windows in which tokens are masked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qa_lightning.data.encode import TokenizedSplit
from qa_lightning.data.windows import Windows
from qa_lightning.pretraining.corpus import Corpus
from qa_lightning.pretraining.masking import NO_LABEL, Draw, Masking, choose_tokens, replace_tokens
from qa_lightning.pretraining.text_windows import TextDataset, longest_words
from qa_lightning.records import Batch
from qa_lightning.utils.arrays import IntArray
from qa_lightning.utils.errors import UserError


@dataclass(slots=True, kw_only=True)
class MaskedBatch(Batch):
    """A batch of windows in which tokens are masked.

    Attributes:
        labels: The token that stood there, where it is predicted, else -100; int64 ``[batch, length]``.
        target_positions: Where tokens are predicted, counted through all rows of the labels; where words are chosen as
            a whole, behind these some others, so that their number is known without waiting for a GPU; int64
            ``[positions]``.
        mean_targets: How many tokens are predicted in a batch of this training, on average.
    """

    labels: Tensor
    target_positions: Tensor
    mean_targets: float = 1.0


class MaskedDataset(TextDataset):
    """Windows of which some tokens are predicted; others in each epoch.

    Args:
        encoded: The tokens.
        windows: The windows.
        corpus: The documents.
        masking: How tokens are masked.
        tokenizer: The tokenizer.

    Raises:
        UserError: Where the tokenizer has no mask token.
    """

    def __init__(
        self, encoded: TokenizedSplit, windows: Windows, corpus: Corpus, masking: Masking, tokenizer: Any
    ) -> None:
        super().__init__(encoded, windows, corpus)
        if tokenizer.mask_token_id is None:
            raise UserError(
                f"the tokenizer {tokenizer.name_or_path or type(tokenizer).__name__} has no mask token: masked tokens "
                "are for encoders such as BERT and RoBERTa"
            )
        self.masking = masking
        self.mask_id = int(tokenizer.mask_token_id)
        special = np.array(tokenizer.all_special_ids, dtype=np.int64)
        self.ordinary = torch.from_numpy(np.setdiff1d(np.arange(tokenizer.vocab_size), special))
        self._tokens = windows.last.astype(np.int64) - windows.first
        self._most = masking.most(self._tokens, longest_words(encoded, windows))
        self.counts = masking.count(torch.arange(int(self._tokens.max(initial=0)) + 1))
        self._mean_targets = 1.0

    def follow(self, sampler: Any) -> None:
        """Makes batches those of a training, of the epoch that its batch sampler is in."""
        super().follow(sampler)
        self._mean_targets = self.masking.mean_count(self._tokens, sampler.batches)

    def to(self, device: torch.device) -> MaskedDataset:
        """Moves the columns to the device on which batches are wanted, and returns the data set itself."""
        super().to(device)
        self.ordinary, self.counts = self.ordinary.to(device), self.counts.to(device)
        return self

    def __getitem__(self, rows: IntArray) -> Batch:
        """The batch of these windows (int ``[batch]``); of none, it is one in which nothing is masked."""
        if len(rows):
            return super().__getitem__(rows)
        row = np.zeros(1, dtype=np.int64)
        return self._masked(row, int(self.lengths[0]), 1, masks=False)

    def gather(self, rows: IntArray, width: int, height: int) -> Batch:
        """Gathers the batch of these windows, masked as it is in the epoch."""
        return self._masked(rows, width, height)

    def _masked(self, rows: IntArray, width: int, height: int, *, masks: bool = True) -> MaskedBatch:
        batch = self.gather_tokens(rows, width, height)
        count = len(batch)
        ids, candidates = batch.inputs["input_ids"], batch.context_mask
        places = batch.inputs["attention_mask"][:count].cumsum(1) - 1
        words = places if batch.words is None or not self.masking.whole_words else batch.words[..., 0]
        draw = Draw(self.seed, self.epoch, torch.from_numpy(np.asarray(rows, dtype=np.int64)).to(ids.device))
        wanted = self.counts[candidates.sum(1)] if masks else torch.zeros_like(draw.windows)
        chosen = choose_tokens(candidates, words, wanted, draw)
        whole = ids[:count]
        masked = replace_tokens(whole, chosen, places, self.masking, draw, self.mask_id, self.ordinary)
        values = {field.name: getattr(batch, field.name) for field in fields(batch)}
        values |= {"inputs": batch.inputs | {"input_ids": torch.cat([masked, ids[count:]])}}
        values |= {"offsets": None, "words": None}
        labels = torch.where(chosen, whole, NO_LABEL)
        those_first = torch.sort(chosen.flatten().byte(), descending=True, stable=True).indices
        positions = those_first[: int(self._most[rows].sum()) if masks else 0]
        return MaskedBatch(**values, labels=labels, target_positions=positions, mean_targets=self._mean_targets)
