"""Windows per second from logits to answers, beside the loops of transformers' example.

The example (``postprocess_qa_predictions`` in its ``utils_qa.py``) looks at the 20 best starts by the 20 best ends of
each window, one pair at a time, and so misses spans; ours looks at all. Both get the same random logits, in windows of
384 tokens nearly all of which are the context's, and give 20 answers with probabilities to each question.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.harness import Row, Size, best_of, main, row
from qa_lightning.modeling.evaluation import Evaluation
from qa_lightning.records import Batch, Prediction, Question

QUESTIONS: dict[Size, int] = {"full": 10_570, "small": 1_000}
"""Questions; the full number, and the windows that they come to, are those of SQuAD 1.1's development set."""

BAR = 20
BATCH = 128
SMALL_BATCH = 32
"""Windows in a batch: as many as ``configs/quickstart.yaml`` evaluates at once, and as many as are without a config."""

LENGTH = 384
K = 20
MAX_ANSWER_LENGTH = 30

_CONTEXT = 16  # the first context token: behind a special token, the question's 14 and another
_TWICE = 38  # every 38th question has two windows, which makes 10,849 of 10,570
_OVERLAP = 128
_REPEATS = 3

Records = Sequence[dict[str, Any]]
"""A list of rows, or a data set of ``datasets``, which decodes a row each time it is asked for one."""


class Decodable(NamedTuple):
    """Questions, their windows' logits, and what both sides need to make answers of them.

    Attributes:
        batches: Windows in batches, as the package builds them, without the inputs of a model.
        start_logits: float32 ``[windows, length]``.
        end_logits: float32 ``[windows, length]``.
        examples: For the loops: ``id`` and ``context`` of each question.
        features: For the loops: of each window, in the questions' order, ``example_id``, what is fed to a model, and
            ``offset_mapping``, which is None where a token is not the context's.
    """

    batches: list[Batch]
    start_logits: Tensor
    end_logits: Tensor
    examples: list[dict[str, Any]]
    features: list[dict[str, Any]]


def random_logits(questions: int, length: int = LENGTH, batch: int = BATCH) -> Decodable:
    """Questions with random logits; every word of a context is one token and differs from the others."""
    tokens = length - 1 - _CONTEXT
    context = " ".join(f"{word:04}" for word in range(2 * tokens))
    asked = [
        Question(number, str(number), "which words ?", context, None, 1 + (number % _TWICE == _TWICE - 1))
        for number in range(questions)
    ]
    owner = [question for question in asked for _ in range(question.windows)]
    second = [
        i > 0 and question is before for i, (before, question) in enumerate(zip([None, *owner], owner, strict=False))
    ]

    generator = torch.Generator().manual_seed(0)
    start_logits, end_logits = torch.randn(2, len(owner), length, generator=generator)
    place = torch.arange(length)
    inside = (place >= _CONTEXT) & (place < _CONTEXT + tokens)
    step = tokens - min(_OVERLAP, tokens // 2)
    first = 5 * (place - _CONTEXT + step * torch.tensor(second)[:, None])
    offsets = torch.stack([first, first + 4], dim=-1).masked_fill(~inside[:, None], 0)
    batches = [
        Batch(
            inputs={},
            question_mask=((place > 0) & (place < _CONTEXT - 1)).expand(len(questions_of_batch), -1),
            context_mask=inside.expand(len(questions_of_batch), -1),
            null_position=torch.zeros(len(questions_of_batch), dtype=torch.int64),
            starts=torch.full((len(questions_of_batch), 1), -1),
            ends=torch.full((len(questions_of_batch), 1), -1),
            ids=[question.id for question in questions_of_batch],
            offsets=offsets[begin : begin + batch],
            questions=questions_of_batch,
        )
        for begin in range(0, len(owner), batch)
        for questions_of_batch in [owner[begin : begin + batch]]
    ]
    fed = {"input_ids": list(range(length)), "attention_mask": [1] * length, "token_type_ids": [0] * length}
    features = [
        {"example_id": question.id, **fed, "offset_mapping": [span if span[1] else None for span in window]}
        for question, window in zip(owner, offsets.numpy().tolist(), strict=True)
    ]
    examples = [{"id": question.id, "question": question.question, "context": context} for question in asked]
    return Decodable(batches, start_logits, end_logits, examples, features)


@torch.inference_mode()
def ours(data: Decodable) -> list[Prediction]:
    """The package's answers, batch by batch, as a validation asks for them."""
    evaluation = Evaluation(K, MAX_ANSWER_LENGTH, null_allowed=False)
    evaluation.begin(0.0)
    predictions = []
    end = 0
    for batch in data.batches:
        begin, end = end, end + len(batch)
        predictions += evaluation.answer(batch, data.start_logits[begin:end], data.end_logits[begin:end])
    return predictions


def loops(
    examples: Records,
    features: Records,
    start_logits: NDArray[np.float32],
    end_logits: NDArray[np.float32],
    candidates: int = K,
) -> dict[str, list[dict[str, Any]]]:
    """Runs the loops of the example.

    Args:
        examples: Questions, as in `Decodable`.
        features: Windows, as in `Decodable`.
        start_logits: ``[windows, length]``.
        end_logits: ``[windows, length]``.
        candidates: How many starts and ends of each window are tried; the example's is the number of answers.

    Returns:
        Answers by question id, best first: text, the two logits and probability.
    """
    windows: dict[str, list[int]] = defaultdict(list)
    for number, feature in enumerate(features):
        windows[feature["example_id"]].append(number)
    answers = {}
    for example in examples:
        spans: list[dict[str, Any]] = []
        for number in windows[example["id"]]:
            offsets = features[number]["offset_mapping"]
            spans += _spans(offsets, start_logits[number], end_logits[number], candidates)
        answers[example["id"]] = _answers(example["context"], spans)
    return answers


def _spans(
    offsets: list[Any],
    start_logits: NDArray[np.float32],
    end_logits: NDArray[np.float32],
    candidates: int,
) -> Iterator[dict[str, Any]]:
    """Every pair of a good start and a good end of a window that is a span of the context."""
    best_starts = np.argsort(start_logits)[-1 : -candidates - 1 : -1].tolist()
    best_ends = np.argsort(end_logits)[-1 : -candidates - 1 : -1].tolist()
    for start in best_starts:
        for end in best_ends:
            if start >= len(offsets) or end >= len(offsets) or offsets[start] is None or offsets[end] is None:
                continue  # padding, the question or a special token
            if end < start or end - start + 1 > MAX_ANSWER_LENGTH:
                continue
            yield {
                "span": (offsets[start][0], offsets[end][1]),
                "score": start_logits[start] + end_logits[end],
                "start_logit": start_logits[start],
                "end_logit": end_logits[end],
            }


def _answers(context: str, spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best of the spans as texts with probabilities, in plain numbers."""
    kept = sorted(spans, key=lambda span: span["score"], reverse=True)[:K]
    if not kept:
        return [{"text": "empty", "start_logit": 0.0, "end_logit": 0.0, "probability": 1.0}]
    scores = np.array([span["score"] for span in kept])
    weights = np.exp(scores - scores.max())
    return [
        {
            "text": context[span["span"][0] : span["span"][1]],
            "start_logit": float(span["start_logit"]),
            "end_logit": float(span["end_logit"]),
            "probability": float(probability),
        }
        for span, probability in zip(kept, weights / weights.sum(), strict=True)
    ]


def agreement(data: Decodable) -> int:
    """Counts the questions that both sides answer alike; the loops did not see the best span of the others.

    Raises:
        AssertionError: The two differ though the loops considered our answer, or they found a better one.
    """
    looped = loops(data.examples, data.features, data.start_logits.numpy(), data.end_logits.numpy())
    windows: dict[str, list[int]] = defaultdict(list)
    for number, feature in enumerate(data.features):
        windows[feature["example_id"]].append(number)
    same = 0
    for prediction in ours(data):
        ours_best, theirs_best = prediction.answers[0], looped[prediction.question.id][0]
        theirs_score = theirs_best["start_logit"] + theirs_best["end_logit"]
        if ours_best.text == theirs_best["text"]:
            same += 1
            continue
        assert ours_best.score > theirs_score, f"question {prediction.question.id}: the loops found a better answer"
        for number in windows[prediction.question.id]:
            offsets = data.features[number]["offset_mapping"]
            tried_starts, tried_ends = (
                [offsets[i] for i in logits[number].topk(K).indices.tolist()]
                for logits in (data.start_logits, data.end_logits)
            )
            seen = any(span and span[0] == ours_best.start for span in tried_starts) and any(
                span and span[1] == ours_best.end for span in tried_ends
            )
            assert not seen, f"question {prediction.question.id}: the loops considered our answer and left it"
    return same


def measure(questions: int) -> list[Row]:
    """Runs the benchmark with a number of questions."""
    from datasets import Dataset

    data = random_logits(questions)
    windows, same = len(data.features), agreement(data)
    logits = data.start_logits.numpy(), data.end_logits.numpy()
    examples, features = Dataset.from_list(data.examples), Dataset.from_list(data.features)
    small = random_logits(questions, batch=SMALL_BATCH)
    rate, small_rate = (windows / best_of(partial(ours, decodable), _REPEATS) for decodable in (data, small))
    as_it_is = windows / best_of(lambda: loops(examples, features, *logits), _REPEATS)
    alone = windows / best_of(lambda: loops(data.examples, data.features, *logits), _REPEATS)
    seen = f"{windows:,} windows; the same best answer to {same:,} of {questions:,} questions, better to the others"
    small_batches = f"the same in batches of {SMALL_BATCH}, not {BATCH}"
    return [
        row("decode", "windows/s, logits to answers", rate, peer=as_it_is, bar=BAR, unit="windows/s", note=seen),
        row("decode", small_batches, small_rate, peer=as_it_is, bar=BAR, unit="windows/s"),
        row("decode", "the same beside the loops alone", rate, peer=alone, unit="windows/s", note="offsets as lists"),
    ]


def run(size: Size) -> list[Row]:
    """Runs the benchmark."""
    return measure(QUESTIONS[size])


if __name__ == "__main__":
    main(run, __doc__)
