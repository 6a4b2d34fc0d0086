"""Whether two models give the same logits, seen on real windows."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qa_lightning.data.synthetic import SyntheticCorpus
from qa_lightning.reader.reader import Reader
from qa_lightning.reader.runners import Runner
from qa_lightning.reader.settings import Settings
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError

LIMIT = 1e-3
"""By how much logits may differ."""

_TOKENS_PER_BATCH = (1, 512, 1 << 20)
"""Each window by itself, a few together, and all."""


class _Watched:
    """A model whose batches are kept."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.longest = runner.longest
        self.device = runner.device
        self.batches: list[Batch] = []

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        self.batches.append(batch)
        return self.runner(batch)


def sample_batches(runner: Runner, tokenizer: Any, settings: Settings) -> list[Batch]:
    """Windows of a few questions, as a `Reader` gives them to a model: one by one, some together, and all in one.

    Their contexts are from a few words to several windows long, so that batches are padded.

    Args:
        runner: The model.
        tokenizer: Its tokenizer.
        settings: How windows are cut.
    """
    watched = _Watched(runner)
    for tokens in _TOKENS_PER_BATCH:
        reader = Reader(watched, tokenizer, tokens_per_batch=tokens, **vars(settings))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* cut at max_question_len ")  # these are no user's questions
            for _ in reader.predictions(_questions()):
                pass
    return watched.batches


def largest_difference(runner: Runner, other: Runner, batches: Iterable[Batch]) -> float:
    """Computes the largest absolute difference of two models' logits, padding left out; NaN where a logit is NaN."""
    differences = []
    with torch.inference_mode():
        for batch in batches:
            real = batch.inputs["attention_mask"].bool()
            for logits, others in zip(runner(batch), other(batch), strict=True):
                differences.append((logits - others)[real].abs().max().item())
    return float(np.max(differences))


def checked_difference(runner: Runner, other: Runner, batches: Iterable[Batch]) -> float:
    """Computes the largest difference, and refuses one that is too large.

    Raises:
        UserError: Where it is above `LIMIT`.
    """
    difference = largest_difference(runner, other, batches)
    if not difference <= LIMIT:
        raise UserError(
            f"the logits of the exported model differ from torch's by up to {difference:.1e}, more than {LIMIT:.0e}: "
            "nothing was written; export it with --format safetensors"
        )
    return difference


def _questions() -> list[dict[str, str]]:
    rows = SyntheticCorpus(train_passages=8).rows("train")
    contexts = list(dict.fromkeys(row["context"] for row in rows))
    asked = [(row["question"], row["context"]) for row in rows[::3]]
    asked += [("Where?", contexts[0].split(".")[0]), (rows[0]["question"], " ".join(contexts))]
    return [{"question": question, "context": context} for question, context in asked]
