"""Computes the logits of the windows of questions, with one model."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from qa_lightning.data.batching import EvaluationBatchSampler
from qa_lightning.decoding.token_probabilities import ScoredBatch
from qa_lightning.modeling.network import CONSTANT_NULL, is_causal_network
from qa_lightning.reader.inputs import BLOCK_CHARACTERS, Pair
from qa_lightning.reader.question_windows import make_windows
from qa_lightning.reader.runners import Runner, TorchRunner
from qa_lightning.reader.scored_questions import OnePass, ScoredQuestions
from qa_lightning.reader.settings import Settings
from qa_lightning.utils.errors import UserError

_TOKENS_PER_BATCH = {"cpu": 2048}
_TOKENS_ON_OTHERS = 16384


class WindowScorer:
    """A model with its tokenizer, which reads questions with their contexts. Threads take turns.

    Args:
        runner: The model.
        tokenizer: Its fast tokenizer.
        tokens_per_batch: Most tokens in a batch; default: 2,048 on a CPU, 16,384 elsewhere.
        null_at_end: Whether the model was trained to score null at a special token that ends every window.

    Raises:
        UserError: Where a batch could not hold a token.
    """

    def __init__(
        self, runner: Runner, tokenizer: Any, *, tokens_per_batch: int | None = None, null_at_end: bool = False
    ) -> None:
        if tokens_per_batch is not None and tokens_per_batch < 1:
            raise UserError(f"tokens_per_batch must be at least 1, not {tokens_per_batch}")
        self.runner = runner
        self.tokenizer = tokenizer
        self.tokens_per_batch = tokens_per_batch or _TOKENS_PER_BATCH.get(runner.device.type, _TOKENS_ON_OTHERS)
        self.null_at_end = null_at_end
        self._lock = threading.Lock()
        self._warned_of_cuts = self._checked_null = False

    @property
    def block_characters(self) -> int:
        """About how many characters are read together: fewer where a window has as many logits as pairs of tokens."""
        return BLOCK_CHARACTERS // 16 if self._scores_pairs else BLOCK_CHARACTERS

    @property
    def _scores_pairs(self) -> bool:
        return bool(getattr(self.runner, "scores_pairs", False))

    def check(self, settings: Settings) -> None:
        """Checks that questions can be answered so; warns once of a null that is the same for every question.

        Raises:
            UserError: Where they cannot.
        """
        special_tokens = self.tokenizer.num_special_tokens_to_add(pair=True)
        settings.lengths(self.runner.longest, self.tokenizer, special_tokens)
        if settings.legacy and self._scores_pairs:
            raise UserError(
                "legacy=True answers as transformers' former pipeline, which knew no scores of pairs; leave it out"
            )
        if settings.handle_impossible_answer and not self.null_at_end and not self._checked_null:
            self._checked_null = True
            if isinstance(self.runner, TorchRunner) and is_causal_network(self.runner.network):
                warnings.warn(CONSTANT_NULL, stacklevel=4)

    def score(self, pairs: Sequence[Pair], settings: Settings) -> ScoredQuestions:
        """Computes the logits of all windows of the questions.

        Args:
            pairs: The questions with their contexts.
            settings: How they are to be answered.

        Raises:
            UserError: Where the model returns NaN.
        """
        with self._lock, torch.inference_mode():
            dataset = make_windows(pairs, settings, self.tokenizer, self.runner.longest, self.null_at_end)
            cut = {pair.question for pair, is_cut in zip(pairs, dataset.questions_cut, strict=True) if is_cut}
            self._warn_of_cuts(len(cut), settings)
            batches = EvaluationBatchSampler(dataset.windows, dataset.lengths, self.tokens_per_batch)
            dataset.to(self.runner.device)
            scored = [ScoredBatch(batch, *self.runner(batch)) for batch in (dataset[rows] for rows in batches)]
            # One check for all of them, after all work is queued on a GPU.
            wrong = torch.stack([logits.isnan().any() for batch in scored for logits in batch[1:]]).any()
        if wrong:
            raise UserError("the model returned NaN; load it with another dtype, such as float32")
        return ScoredQuestions(scored, settings)

    def for_documents(self, settings: Settings, questions: int) -> OnePass:
        """Makes what reads the documents of questions; see `DocumentScorer`."""
        return OnePass(self, settings)

    def _warn_of_cuts(self, count: int, settings: Settings) -> None:
        """Warns once that questions are truncated."""
        if count and not self._warned_of_cuts:
            self._warned_of_cuts = True
            warnings.warn(
                f"{count:,} {'question' if count == 1 else 'questions'} cut at max_question_len "
                f"({settings.max_question_len} tokens); raise it to have them whole",
                stacklevel=2,
            )
