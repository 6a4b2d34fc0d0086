"""The `Reader`, which answers questions for Python, the command line, the server and the demo page."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch

from qa_lightning.data.batching import EvaluationBatchSampler
from qa_lightning.decoding.decoder import Decoder
from qa_lightning.decoding.legacy import LegacyDecoder
from qa_lightning.decoding.token_probabilities import ScoredBatch, TokenProbabilities, token_probabilities
from qa_lightning.modeling.network import CONSTANT_NULL, is_causal_network
from qa_lightning.pretrained.loading import load_settings, load_tokenizer
from qa_lightning.pretrained.settings import null_at_end
from qa_lightning.reader.distinct_answers import add_distinct_answers
from qa_lightning.reader.formatting import NO_ANSWER_FOUND, format_answers
from qa_lightning.reader.inputs import BLOCK_CHARACTERS, Pair, read_pairs, split_into_blocks
from qa_lightning.reader.loading import load_runner
from qa_lightning.reader.question_windows import make_windows
from qa_lightning.reader.runners import Runner, TorchRunner
from qa_lightning.reader.settings import Settings
from qa_lightning.records import AnswerDict, Prediction
from qa_lightning.runs.folder import resolve_model
from qa_lightning.utils.errors import UserError

_TOKENS_PER_BATCH = {"cpu": 2048}
_TOKENS_ON_OTHERS = 16384


class Explanation(NamedTuple):
    """The prediction for one question, with the probabilities that it comes from.

    Attributes:
        prediction: All ``n_best_size`` answers and the null odds.
        answers: The best ``top_k`` of them, as a call lists them.
        tokens: The probabilities that an answer starts and ends at each token of the context.
    """

    prediction: Prediction
    answers: list[AnswerDict]
    tokens: TokenProbabilities


class Reader:
    """Answers questions from their contexts, with the tokens, windows, decoding and null rule of validation.

    A Reader is called like transformers' former question-answering pipeline, and returns the same. It is right where
    that was wrong: an answer is listed once, and no score is above 1 (it summed those of equal texts);
    no answer is empty unless "no answer" is allowed, and then null's score is taken where the tokenizer puts its
    classification token, as the minimum over the windows; ``top_k`` answers are found where there are enough; a
    question that is too long is cut, and a warning says so; whole words are those of the language, so that answers in
    Japanese, Chinese or Thai do not grow to the whole context; and offsets neither lose nor gain a character with
    byte-level and Unigram tokenizers.
    ``legacy=True`` answers and scores as it did.

    A score is the softmax of start plus end logit over the ``n_best_size`` best answers (and null, where allowed),
    whatever ``top_k`` is. Where null is predicted by a threshold, it is listed first whatever its score.

    Threads may share a Reader; they take turns.

    Args:
        model: A question-answering network of transformers, or another `Runner`.
        tokenizer: Its fast tokenizer.
        tokens_per_batch: Most tokens in a batch; default: 2,048 on a CPU, 16,384 elsewhere.
        null_at_end: Whether the model was trained to score null at a special token that ends every window.
        **settings: How to answer; see `Settings`.

    Raises:
        UserError: For anything else in their place, and invalid settings.

    Attributes:
        settings: How questions are answered unless a call says otherwise.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        tokens_per_batch: int | None = None,
        null_at_end: bool = False,
        **settings: Any,
    ) -> None:
        if isinstance(model, str | Path) or not hasattr(tokenizer, "backend_tokenizer"):
            raise UserError("a Reader is made of a model and its fast tokenizer; Reader.from_pretrained takes a name")
        self.runner: Runner = TorchRunner(model) if isinstance(model, torch.nn.Module) else model
        self.tokenizer = tokenizer
        if tokens_per_batch is not None and tokens_per_batch < 1:
            raise UserError(f"tokens_per_batch must be at least 1, not {tokens_per_batch}")
        self.tokens_per_batch = tokens_per_batch or _TOKENS_PER_BATCH.get(self.runner.device.type, _TOKENS_ON_OTHERS)
        self.null_at_end = null_at_end
        self._lock = threading.Lock()
        self._warned_of_cuts = self._checked_null = False
        self.settings = self._checked_settings(Settings().updated(settings))

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str | Path,
        *,
        tokenizer_name: str | None = None,
        revision: str | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype = torch.float32,
        attn_implementation: str | None = None,
        tokens_per_batch: int | None = None,
        **settings: Any,
    ) -> Self:
        """Loads a Reader with any extractive question-answering model.

        Args:
            model_name_or_path: A model folder of ours, which brings the settings that it was trained and scored
                with; the folder of a run, whose best model is taken; a checkpoint that ``fit`` wrote; a folder that
                ``export`` wrote, whose ONNX model onnxruntime runs; or any ``AutoModelForQuestionAnswering`` on the
                Hub or in a folder.
            tokenizer_name: Another tokenizer than the model's.
            revision: The Hub revision.
            device: Where to run; default: a GPU where there is one.
            dtype: The dtype of the weights, in whichever they were saved.
            attn_implementation: The attention kernel by transformers' name.
            tokens_per_batch: Most tokens in a batch; default: by device.
            **settings: How to answer; see `Settings`.

        Raises:
            UserError: Where the model cannot be loaded, or has no question-answering head.
        """
        name = resolve_model(str(model_name_or_path))
        tokenizer = load_tokenizer(tokenizer_name or name, None if tokenizer_name else revision)
        runner = load_runner(
            name,
            tokenizer,
            device=device,
            dtype=dtype,
            attn_implementation=attn_implementation,
            revision=revision,
        )
        saved = load_settings(name, revision)
        values = Settings.of_model(saved).updated(settings)
        at_end = null_at_end(tokenizer, saved, training=False)
        return cls(runner, tokenizer, tokens_per_batch=tokens_per_batch, null_at_end=at_end, **vars(values))

    def __call__(self, inputs: Any = None, *, question: Any = None, context: Any = None, **settings: Any) -> Any:
        """Answers a question, or any number of them.

        Args:
            inputs: A record ``{"question": …, "context": …}``, or a list, a ``datasets.Dataset`` or any iterable of
                records.
            question: Instead: a question, or a list of them.
            context: With it: the context of all questions, or a list with that of each.
            **settings: How to answer this time; see `Settings`.

        Returns:
            For one question its answer ``{"score", "start", "end", "answer"}``, in characters of the context, end
            exclusive; with ``top_k`` above 1 a list of answers, best first. For a list of questions a list of these,
            in the order asked. For a data set or another iterable an iterator, which reads and answers some questions
            at a time.

        Raises:
            UserError: For input without a question and a context, and invalid settings.
        """
        call_settings = self._checked_settings(self.settings.updated(settings))
        pairs, form = read_pairs(inputs, question, context)
        answers = (
            found if call_settings.top_k > 1 else (found or [dict(NO_ANSWER_FOUND)])[0]
            for block in self._blocks(pairs)
            for found in _answers(self._score_windows(block, call_settings), call_settings)
        )
        if form == "stream":
            return answers
        return next(answers) if form == "one" else list(answers)

    def predictions(
        self, inputs: Any = None, *, question: Any = None, context: Any = None, **settings: Any
    ) -> Iterator[Prediction]:
        """Predicts, one question after the other, with all ``n_best_size`` answers and the null odds.

        Args:
            inputs: As in a call.
            question: As in a call.
            context: As in a call.
            **settings: As in a call; ``top_k`` and ``legacy`` do not count.

        Raises:
            UserError: As a call does.
        """
        call_settings = self._checked_settings(self.settings.updated(settings))
        pairs, _ = read_pairs(inputs, question, context)
        blocks = (self._score_windows(block, call_settings) for block in self._blocks(pairs))
        return (prediction for scored in blocks for prediction in _predictions(scored, call_settings))

    def explain(self, question: str, context: str, **settings: Any) -> Explanation:
        """Answers one question, with the probability that an answer starts, and ends, at each token.

        Args:
            question: The question.
            context: Its context.
            **settings: As in a call.

        Raises:
            UserError: As a call does.
        """
        call_settings = self._checked_settings(self.settings.updated(settings))
        pairs, _ = read_pairs(None, question, context)
        scored = self._score_windows(list(pairs), call_settings)
        predictions = _predictions(scored, call_settings)
        (prediction,), (answers,) = predictions, _answers(scored, call_settings, predictions)
        tokens = token_probabilities(scored, null_allowed=call_settings.handle_impossible_answer)
        return Explanation(prediction, answers, tokens)

    def _blocks(self, pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
        """Splits questions into blocks, smaller ones where a window has as many logits as pairs of tokens."""
        return split_into_blocks(pairs, BLOCK_CHARACTERS // 16 if self._scores_pairs else BLOCK_CHARACTERS)

    @property
    def _scores_pairs(self) -> bool:
        return bool(getattr(self.runner, "scores_pairs", False))

    def _checked_settings(self, settings: Settings) -> Settings:
        special_tokens = self.tokenizer.num_special_tokens_to_add(pair=True)
        settings.lengths(self.runner.longest, self.tokenizer, special_tokens)
        if settings.legacy and self._scores_pairs:
            raise UserError(
                "legacy=True answers as transformers' former pipeline, which knew no scores of pairs; leave it out"
            )
        if settings.handle_impossible_answer and not self.null_at_end and not self._checked_null:
            self._checked_null = True
            if isinstance(self.runner, TorchRunner) and is_causal_network(self.runner.network):
                warnings.warn(CONSTANT_NULL, stacklevel=3)
        return settings

    def _warn_of_cuts(self, count: int, settings: Settings) -> None:
        """Warns once that questions are truncated."""
        if count and not self._warned_of_cuts:
            self._warned_of_cuts = True
            warnings.warn(
                f"{count:,} {'question' if count == 1 else 'questions'} cut at max_question_len "
                f"({settings.max_question_len} tokens); raise it to have them whole",
                stacklevel=2,
            )

    def _score_windows(self, pairs: list[Pair], settings: Settings) -> list[ScoredBatch]:
        """Computes the logits of all windows of the questions."""
        with self._lock, torch.inference_mode():
            dataset = make_windows(pairs, settings, self.tokenizer, self.runner.longest, self.null_at_end)
            self._warn_of_cuts(dataset.questions_cut, settings)
            batches = EvaluationBatchSampler(dataset.windows, dataset.lengths, self.tokens_per_batch)
            dataset.to(self.runner.device)
            scored = [ScoredBatch(batch, *self.runner(batch)) for batch in (dataset[rows] for rows in batches)]
            # One check for all of them, after all work is queued on a GPU.
            wrong = torch.stack([logits.isnan().any() for batch in scored for logits in batch[1:]]).any()
        if wrong:
            raise UserError("the model returned NaN; load it with another dtype, such as float32")
        return scored


def _answers(
    scored: list[ScoredBatch], settings: Settings, predictions: list[Prediction] | None = None
) -> list[list[AnswerDict]]:
    """Lists the best answers to each question, in order, from its prediction where that is known."""
    if settings.legacy:
        legacy = LegacyDecoder(settings.top_k, settings.max_answer_len, settings.handle_impossible_answer)
        answered = [prediction for batch in scored for prediction in legacy.answer(*batch)]
        return [prediction.answers for prediction in sorted(answered, key=lambda prediction: prediction.question.row)]
    if predictions is None:
        predictions = _predictions(scored, settings)
    answers = [format_answers(prediction, settings.top_k, settings.n_best_size) for prediction in predictions]
    few = [
        prediction
        for prediction, found in zip(predictions, answers, strict=True)
        if len(found) < settings.top_k and len(prediction.answers) >= settings.n_best_size
    ]
    for row, more in add_distinct_answers(few, scored, settings).items() if few else ():
        answers[row] = format_answers(more, settings.top_k, settings.n_best_size)
    return answers


@torch.inference_mode()
def _predictions(scored: list[ScoredBatch], settings: Settings) -> list[Prediction]:
    """Decodes the prediction for each question, in order."""
    decoder = Decoder(
        settings.n_best_size,
        settings.max_answer_len,
        settings.handle_impossible_answer,
        settings.null_score_diff_threshold,
    )
    pending = [decoder.begin(*batch) for batch in scored]
    found = [prediction for answers in pending for prediction in decoder.finish(answers)]
    return sorted(found, key=lambda prediction: prediction.question.row)
