"""The `Reader`, which answers questions for Python, the command line, the server and the demo page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch

from qa_lightning.decoding.token_probabilities import TokenProbabilities
from qa_lightning.pretrained.ensemble_file import ENSEMBLE_FILE, is_ensemble, read_ensemble
from qa_lightning.pretrained.loading import load_settings, load_tokenizer
from qa_lightning.pretrained.settings import null_at_end
from qa_lightning.reader.document_inputs import DocumentQuestions, asks_documents, has_contexts, read_documents
from qa_lightning.reader.documents import DocumentReading
from qa_lightning.reader.ensemble import Ensemble
from qa_lightning.reader.formatting import NO_ANSWER_FOUND
from qa_lightning.reader.inputs import InputForm, Pair, is_stream, read_pairs, split_into_blocks
from qa_lightning.reader.loading import load_runner
from qa_lightning.reader.runners import Runner, TorchRunner
from qa_lightning.reader.scored_questions import QuestionReader
from qa_lightning.reader.settings import Settings
from qa_lightning.reader.window_scorer import WindowScorer
from qa_lightning.records import AnswerDict, Prediction
from qa_lightning.runs.folder import resolve_model
from qa_lightning.utils.errors import UserError


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
        model: A question-answering network of transformers, another `Runner`, or an `Ensemble` of several Readers.
        tokenizer: Its fast tokenizer; that of an ensemble's first member is not given.
        tokens_per_batch: Most tokens in a batch; default: 2,048 on a CPU, 16,384 elsewhere.
        null_at_end: Whether the model was trained to score null at a special token that ends every window.
        **settings: How to answer; see `Settings`.

    Raises:
        UserError: For anything else in their place, and invalid settings.

    Attributes:
        settings: How questions are answered unless a call says otherwise.
        scorer: What reads the questions: one model, or an ensemble.
        tokenizer: The tokenizer; of an ensemble, the first member's.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        tokens_per_batch: int | None = None,
        null_at_end: bool = False,
        **settings: Any,
    ) -> None:
        if isinstance(model, Ensemble):
            self.scorer: QuestionReader = model
            self.tokenizer = model.scorers[0].tokenizer
            self.settings = self._checked_settings(model.settings.updated(settings))
            return
        if isinstance(model, str | Path) or not hasattr(tokenizer, "backend_tokenizer"):
            raise UserError("a Reader is made of a model and its fast tokenizer; Reader.from_pretrained takes a name")
        self.runner: Runner = TorchRunner(model) if isinstance(model, torch.nn.Module) else model
        self.tokenizer = tokenizer
        self.null_at_end = null_at_end
        self.scorer = WindowScorer(self.runner, tokenizer, tokens_per_batch=tokens_per_batch, null_at_end=null_at_end)
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
                ``export`` wrote, whose ONNX model onnxruntime runs; one that ``ensemble`` wrote, whose members answer
                together; or any ``AutoModelForQuestionAnswering`` on the Hub or in a folder.
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
        loading: dict[str, Any] = {"device": device, "dtype": dtype, "attn_implementation": attn_implementation}
        if is_ensemble(name):
            if tokenizer_name is not None or revision is not None:
                raise UserError(
                    f"{name} is an ensemble, whose members have their own tokenizers and revisions; leave "
                    "tokenizer_name and revision out"
                )
            found = read_ensemble(name)
            try:
                Settings().updated(found.settings)
            except UserError as error:
                raise UserError(f"{Path(name, ENSEMBLE_FILE)}: {error}") from None
            members = [
                cls.from_pretrained(member, tokens_per_batch=tokens_per_batch, **loading) for member in found.members
            ]
            return cls(Ensemble(members, found.weights), **found.settings | settings)
        tokenizer = load_tokenizer(tokenizer_name or name, None if tokenizer_name else revision)
        runner = load_runner(name, tokenizer, revision=revision, **loading)
        saved = load_settings(name, revision)
        values = Settings.of_model(saved).updated(settings)
        at_end = null_at_end(tokenizer, saved, training=False)
        return cls(runner, tokenizer, tokens_per_batch=tokens_per_batch, null_at_end=at_end, **vars(values))

    def __call__(
        self, inputs: Any = None, *, question: Any = None, context: Any = None, contexts: Any = None, **settings: Any
    ) -> Any:
        """Answers a question, or any number of them.

        Args:
            inputs: A record ``{"question": …, "context": …}``, or a list, a ``datasets.Dataset`` or any iterable of
                records; with ``"contexts"`` in the place of ``"context"``, they are answered from many documents.
            question: Instead: a question, or a list of them.
            context: With it: the context of all questions, or a list with that of each.
            contexts: In its place: the documents that every question is answered from, a list or any iterable of texts,
                which is read once and piece by piece, or a mapping of names to texts.
            **settings: How to answer this time; see `Settings`.

        Returns:
            For one question its answer ``{"score", "start", "end", "answer"}``, in characters of the context, end
            exclusive; with ``top_k`` above 1 a list of answers, best first. For a list of questions a list of these,
            in the order asked. For a data set or another iterable an iterator, which reads and answers some questions
            at a time. An answer from documents has two keys more: ``document``, the number of the document from 0, or
            its name, where ``start`` and ``end`` are counted, and ``places``, where among the ``n_best_size`` best
            answers the same text stands, best first, each a ``{"document", "start", "end", "score"}``.

        Raises:
            UserError: For input without a question and a context, and invalid settings.
        """
        call_settings = self._checked_settings(self.settings.updated(settings))
        if is_stream(inputs) and question is context is contexts is None:
            return self._stream(inputs, call_settings)
        of_documents = asks_documents(inputs, contexts)
        answers, form = self._answers(inputs, question, context, contexts, call_settings, of_documents)
        return next(answers) if form == "one" else list(answers)

    def predictions(
        self, inputs: Any = None, *, question: Any = None, context: Any = None, contexts: Any = None, **settings: Any
    ) -> Iterator[Any]:
        """Predicts, one question after the other, with all ``n_best_size`` answers and the null odds.

        Args:
            inputs: As in a call; an iterable of records has one context each.
            question: As in a call.
            context: As in a call.
            contexts: As in a call.
            **settings: As in a call; ``top_k`` and ``legacy`` do not count.

        Returns:
            A `Prediction` for each question, or a `DocumentPrediction` where there are several contexts.

        Raises:
            UserError: As a call does.
        """
        call_settings = self._checked_settings(self.settings.updated(settings))
        if asks_documents(inputs, contexts):
            asked, _ = read_documents(inputs, question, context, contexts)
            readings = self._read_documents(asked, call_settings)
            return (prediction for reading in readings for prediction in reading.predictions())
        pairs, _ = read_pairs(inputs, question, context)
        blocks = (self.scorer.score(block, call_settings) for block in self._blocks(pairs))
        return (prediction for scored in blocks for prediction in scored.predictions())

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
        scored = self.scorer.score(list(pairs), call_settings)
        predictions = scored.predictions()
        (prediction,), (answers,) = predictions, scored.answers(predictions)
        return Explanation(prediction, answers, scored.tokens())

    def _answers(
        self, inputs: Any, question: Any, context: Any, contexts: Any, settings: Settings, of_documents: bool
    ) -> tuple[Iterator[Any], InputForm]:
        """The answers to each question, in the form in which a call returns them, and the form of the input."""
        if of_documents:
            asked, form = read_documents(inputs, question, context, contexts)
            readings = self._read_documents(asked, settings)
            return (found for reading in readings for found in reading.results()), form
        pairs, form = read_pairs(inputs, question, context)
        scored = (self.scorer.score(block, settings) for block in self._blocks(pairs))
        return (
            found if settings.top_k > 1 else (found or [dict(NO_ANSWER_FOUND)])[0]
            for block in scored
            for found in block.answers()
        ), form

    def _stream(self, records: Iterable[Any], settings: Settings) -> Iterator[Any]:
        """Answers the records of an iterable, of which the first is looked at when the first answer is asked for."""
        rest = iter(records)
        first = [*islice(rest, 1)]
        answers, _ = self._answers(chain(first, rest), None, None, None, settings, any(map(has_contexts, first)))
        yield from answers

    def _read_documents(self, asked: Iterator[DocumentQuestions], settings: Settings) -> Iterator[DocumentReading]:
        """Reads the documents of questions, piece by piece."""
        if settings.legacy:
            raise UserError(
                "legacy=True answers as transformers' former pipeline, which knew one context only; leave it out"
            )
        return (self._read(group, settings) for group in asked)

    def _read(self, asked: DocumentQuestions, settings: Settings) -> DocumentReading:
        reading = DocumentReading(self.scorer, asked.questions, settings, asked.names)
        if reading.passes > 1 and asked.once:
            raise UserError("an ensemble reads documents twice, and an iterator gives them once; give a list of them")
        for number in range(reading.passes):
            for block in split_into_blocks(asked.pairs(), self.scorer.block_characters):
                reading.read(block, number)
        return reading

    @property
    def document_passes(self) -> int:
        """How often documents are read to answer from them: twice by an ensemble."""
        return self.scorer.for_documents(self.settings, 0).passes

    def _blocks(self, pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
        return split_into_blocks(pairs, self.scorer.block_characters)

    def _checked_settings(self, settings: Settings) -> Settings:
        self.scorer.check(settings)
        return settings
