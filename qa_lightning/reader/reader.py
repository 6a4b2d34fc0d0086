"""A model that answers questions: one object for Python, the command line, the server and the page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from qa_lightning.data.batching import EvaluationBatches
from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.encode import FindWords, encode_pairs
from qa_lightning.data.tokens import plain_backend
from qa_lightning.data.windows import cut
from qa_lightning.data.words import tokenizer_words, whole_words
from qa_lightning.decoding.decoder import Decoder
from qa_lightning.decoding.legacy import LegacyDecoder
from qa_lightning.errors import UserError
from qa_lightning.pretrained import load_settings, load_tokenizer, model_of
from qa_lightning.reader.inputs import Pair, read_pairs
from qa_lightning.reader.listing import NOTHING, Found, listing
from qa_lightning.reader.loading import load_runner
from qa_lightning.reader.runners import Runner, TorchRunner
from qa_lightning.reader.settings import Settings
from qa_lightning.reader.tokens import TokenLogits, TokenProbabilities
from qa_lightning.records import Prediction, Question

BLOCK = 1024
"""Questions that are read, tokenised and put into batches together; a stream is answered block by block."""

_TOKENS_PER_BATCH = {"cpu": 4096}
_TOKENS_ON_OTHERS = 16384


class Reader:
    """Answers questions from their contexts, with the tokens, windows, decoding and null rule of validation.

    A Reader is called as transformers' former question-answering pipeline was, and returns what that returned. It is
    right where that was wrong: an answer is listed once, and no score is above 1 (it summed those of equal texts);
    no answer is empty unless "no answer" is allowed, and then null's score is taken where the tokenizer puts its
    classification token, as the minimum over the windows; ``top_k`` answers are found where there are so many; long
    questions are cut; whole words are those of the language, so that answers in Japanese, Chinese or Thai do not grow
    to the whole context; and offsets neither lose nor gain a character with byte-level and Unigram tokenizers.
    ``legacy=True`` answers and scores as it did.

    A score is the softmax of start plus end logit over the ``n_best_size`` best answers (and null, where allowed),
    whatever ``top_k`` is. Where null is predicted by a threshold, it is listed first whatever its score.

    Threads may share a Reader; they take turns.

    Args:
        model: A question-answering network of transformers, or another `Runner`.
        tokenizer: Its fast tokenizer.
        tokens_per_batch: Tokens that the model is given at once; default: 4,096 on a CPU, 16,384 elsewhere.
        **settings: How to answer; see `Settings`.

    Attributes:
        settings: How questions are answered unless a call says otherwise.
    """

    def __init__(self, model: Any, tokenizer: Any, *, tokens_per_batch: int | None = None, **settings: Any) -> None:
        self.runner: Runner = TorchRunner(model) if isinstance(model, torch.nn.Module) else model
        self.tokenizer = tokenizer
        if tokens_per_batch is not None and tokens_per_batch < 1:
            raise UserError(f"tokens_per_batch must be at least 1, not {tokens_per_batch}")
        self.tokens_per_batch = tokens_per_batch or _TOKENS_PER_BATCH.get(self.runner.device.type, _TOKENS_ON_OTHERS)
        self.settings = self._checked(Settings().updated(settings))
        self._turn = threading.Lock()

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
    ) -> Reader:
        """A Reader with any extractive question-answering model.

        Args:
            model_name_or_path: A model folder of ours, which brings the settings that it was trained and scored
                with; the folder of a run, whose best model is taken; a checkpoint that ``fit`` wrote; a folder that
                ``export`` wrote, whose ONNX model onnxruntime runs; or any ``AutoModelForQuestionAnswering`` on the
                Hub or in a folder.
            tokenizer_name: Another tokenizer than the model's.
            revision: The Hub revision.
            device: Where to run; default: a GPU where there is one.
            dtype: Of the weights, whatever they were saved in.
            attn_implementation: The attention kernel by transformers' name.
            tokens_per_batch: Tokens that the model is given at once; default: by device.
            **settings: How to answer; see `Settings`.

        Raises:
            UserError: Where the model cannot be loaded, or has no question-answering head.
        """
        name = model_of(str(model_name_or_path))
        tokenizer = load_tokenizer(tokenizer_name or name, None if tokenizer_name else revision)
        runner = load_runner(
            name,
            tokenizer,
            device=device,
            dtype=dtype,
            attn_implementation=attn_implementation,
            revision=revision,
        )
        values = Settings.of_model(load_settings(name)).updated(settings)
        return cls(runner, tokenizer, tokens_per_batch=tokens_per_batch, **vars(values))

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
            UserError: For input that is no question with a context, and settings that cannot be.
        """
        plan = self._checked(self.settings.updated(settings))
        pairs, form = read_pairs(inputs, question, context)
        answers = (
            found if plan.top_k > 1 else (found or [dict(NOTHING)])[0]
            for block in _blocks(pairs)
            for found in self._answers(block, plan)
        )
        if form == "stream":
            return answers
        return next(answers) if form == "one" else list(answers)

    def predictions(
        self, inputs: Any = None, *, question: Any = None, context: Any = None, **settings: Any
    ) -> Iterator[Prediction]:
        """The same questions' predictions with all ``n_best_size`` answers and the null odds, one after the other.

        Args:
            inputs: As in a call.
            question: As in a call.
            context: As in a call.
            **settings: As in a call; ``top_k`` and ``legacy`` do not count.

        Raises:
            UserError: As a call does.
        """
        plan = self._checked(self.settings.updated(settings))
        pairs, _ = read_pairs(inputs, question, context)
        return (one for block in _blocks(pairs) for one in self._predict(block, plan, plan.n_best_size))

    def token_probabilities(self, question: str, context: str, **settings: Any) -> TokenProbabilities:
        """Where the model sees the answer to one question begin and end.

        Args:
            question: The question.
            context: Its context.
            **settings: As in a call.

        Raises:
            UserError: As a call does.
        """
        plan = self._checked(self.settings.updated(settings))
        pairs, _ = read_pairs(None, question, context)
        logits = TokenLogits()
        self._go_through(list(pairs), plan, logits, None)
        return logits.probabilities(null_allowed=plan.handle_impossible_answer)

    def _checked(self, settings: Settings) -> Settings:
        settings.lengths(self.runner.longest, self.tokenizer.num_special_tokens_to_add(pair=True))
        return settings

    def _answers(self, pairs: list[Pair], plan: Settings) -> list[list[Found]]:
        """The best answers to each of some questions."""
        if plan.legacy:
            decoder = LegacyDecoder(plan.top_k, plan.max_answer_len, plan.handle_impossible_answer)
            words = partial(tokenizer_words, plain_backend(self.tokenizer))
            legacy = self._go_through(pairs, plan, decoder, words if plan.align_to_words else None)
            return [legacy[row].answers for row in range(len(pairs))]
        size = plan.n_best_size
        answers: dict[int, list[Found]] = {}
        rows = list(range(len(pairs)))
        while rows:
            predictions = self._predict([pairs[row] for row in rows], plan, size)
            answers |= {
                row: listing(one, plan.top_k, plan.n_best_size) for row, one in zip(rows, predictions, strict=True)
            }
            # Of some, so many answers had equal texts that more must be looked at.
            full = [len(one.answers) >= size for one in predictions]
            rows = [row for row, more in zip(rows, full, strict=True) if more and len(answers[row]) < plan.top_k]
            size *= 4
        return [answers[row] for row in range(len(pairs))]

    def _predict(self, pairs: list[Pair], plan: Settings, n_best_size: int) -> list[Prediction]:
        """The prediction for each of some questions."""
        decoder = Decoder(
            n_best_size, plan.max_answer_len, plan.handle_impossible_answer, plan.null_score_diff_threshold
        )
        words = partial(whole_words, most_tokens=plan.max_answer_len) if plan.align_to_words else None
        found = self._go_through(pairs, plan, decoder, words)
        return [found[row] for row in range(len(pairs))]

    def _go_through(self, pairs: list[Pair], plan: Settings, decoder: Any, words: FindWords | None) -> dict[int, Any]:
        """What a decoder makes of each question, by its place among them."""
        with self._turn, torch.inference_mode():
            dataset = self._windows(pairs, plan, words)
            batches = EvaluationBatches(dataset.windows, dataset.lengths, self.tokens_per_batch)
            found: dict[int, Any] = {}
            for rows in batches:
                batch = dataset[rows].to(self.runner.device)
                found |= {one.question.row: one for one in decoder.answer(batch, *self.runner(batch))}
        return found

    def _windows(self, pairs: list[Pair], plan: Settings, words: FindWords | None) -> WindowDataset:
        questions, contexts = zip(*pairs, strict=True)
        encoded = encode_pairs(
            pa.array(questions),
            pa.array(contexts).dictionary_encode(),
            self.tokenizer,
            max_question_length=plan.max_question_len,
            words=words,
        )
        if encoded.layout.null is None and plan.handle_impossible_answer:
            raise UserError(
                f"the tokenizer {type(self.tokenizer).__name__} adds no special token at which 'no answer' could be "
                "scored; set handle_impossible_answer=False"
            )
        max_length, doc_stride = plan.lengths(self.runner.longest, encoded.layout.special_tokens)
        windows = cut(
            encoded.contexts.lengths[encoded.context_of],
            encoded.question_lengths,
            max_length=max_length,
            doc_stride=doc_stride,
            special=encoded.layout.special_tokens,
        )
        counts = np.bincount(windows.example, minlength=len(pairs)).tolist()
        asked = [
            Question(row, str(row), question, context, None, count)
            for row, ((question, context), count) in enumerate(zip(pairs, counts, strict=True))
        ]
        return WindowDataset(encoded, windows, [one.id for one in asked], asked)


def _blocks(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    while block := list(islice(pairs, BLOCK)):
        yield block
