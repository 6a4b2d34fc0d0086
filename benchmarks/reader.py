"""Questions per second from Python: the Reader beside what people write who have no pipeline any more.

The peers are (a) a call per question in the way of transformers' former pipeline: its tokenizer cuts the windows,
each goes through the model by itself, padded to 384 tokens (or, in another row, not padded), and its scoring picks the
answer; and (b) `AutoModelForQuestionAnswering` by hand in batches of 32 with dynamic padding, in the order of the file.
All have the same network of random weights and the questions of `xquad.en` (the package's own corpus where that is
absent). A cold start is a process of its own, from its first line to the first answer.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.data import squad_shaped
from benchmarks.harness import ROOT, Row, Size, best_of, main, row
from benchmarks.models import MINILM, make_module, write_model

QUESTIONS: dict[Size, int] = {"small": 200, "full": 1190}
"""Questions of a measurement; the full number is XQuAD's."""

LOOP_BAR = 3.0
BATCH_BAR = 1.3

BATCH = 32
MAX_LENGTH = 384
DOC_STRIDE = 128
MAX_ANSWER_LENGTH = 15

_REPEATS = {"small": 2, "full": 1}


_COLD = """
import sys, time
start = time.perf_counter()
from qa_lightning import Reader
reader = Reader.from_pretrained(sys.argv[1])
ready = time.perf_counter()
reader(question="Who wrote it?", context="Ada wrote the first program.")
print(time.perf_counter() - start, time.perf_counter() - ready)
"""


class QuestionAndContext(NamedTuple):
    """A question and its context."""

    question: str
    context: str


class Windows(NamedTuple):
    """Windows as the tokenizer cuts them.

    Attributes:
        inputs: What the network is given, unpadded lists.
        offsets: Characters of each token of the context; None for the others.
        owner: The question of each window.
    """

    inputs: dict[str, list[list[int]]]
    offsets: list[list[tuple[int, int] | None]]
    owner: list[int]


def cut(tokenizer: Any, asked: list[QuestionAndContext]) -> Windows:
    """Cuts windows as transformers' question-answering example does, without padding."""
    encoded = tokenizer(
        [pair.question for pair in asked],
        [pair.context for pair in asked],
        truncation="only_second",
        max_length=MAX_LENGTH,
        stride=DOC_STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owner = encoded.pop("overflow_to_sample_mapping")
    offsets = [
        [span if sequence == 1 else None for span, sequence in zip(window, encoded.sequence_ids(i), strict=True)]
        for i, window in enumerate(encoded.pop("offset_mapping"))
    ]
    return Windows(dict(encoded), offsets, owner)


def best_span(start: Any, end: Any, offsets: list[tuple[int, int] | None]) -> tuple[float, int, int]:
    """The best span of a window, with NumPy: the product of two softmaxes over the context."""
    inside = np.array([span is not None for span in offsets])
    probabilities = []
    for logits in (start[: len(inside)], end[: len(inside)]):
        weights = np.where(inside, np.exp(logits - logits[inside].max()), 0.0)
        probabilities.append(weights / weights.sum())
    pairs = np.tril(np.triu(np.outer(*probabilities)), MAX_ANSWER_LENGTH - 1)
    first, last = np.unravel_index(np.argmax(pairs), pairs.shape)
    begin, finish = offsets[int(first)], offsets[int(last)]
    assert begin is not None
    assert finish is not None
    return float(pairs[first, last]), begin[0], finish[1]


@torch.inference_mode()
def one_call_per_question(network: Any, tokenizer: Any, asked: list[QuestionAndContext], *, padded: bool) -> list[str]:
    """Peer (a)."""
    answers = []
    for pair in asked:
        windows = cut(tokenizer, [pair])
        spans = []
        for i, offsets in enumerate(windows.offsets):
            window = {name: [rows[i]] for name, rows in windows.inputs.items()}
            padding = {"padding": "max_length", "max_length": MAX_LENGTH} if padded else {"padding": False}
            output = network(**tokenizer.pad(window, return_tensors="pt", **padding))
            spans.append(best_span(output.start_logits[0].numpy(), output.end_logits[0].numpy(), offsets))
        _, start, end = max(spans)
        answers.append(pair.context[start:end])
    return answers


@torch.inference_mode()
def batches_by_hand(network: Any, tokenizer: Any, asked: list[QuestionAndContext]) -> list[str]:
    """Peer (b)."""
    windows = cut(tokenizer, asked)
    spans: list[tuple[float, int, int]] = [(-1.0, 0, 0)] * len(asked)
    for begin in range(0, len(windows.owner), BATCH):
        batch_rows = range(begin, min(begin + BATCH, len(windows.owner)))
        batch = tokenizer.pad(
            {name: [rows[i] for i in batch_rows] for name, rows in windows.inputs.items()}, return_tensors="pt"
        )
        output = network(**batch)
        for i, start, end in zip(batch_rows, output.start_logits.numpy(), output.end_logits.numpy(), strict=True):
            spans[windows.owner[i]] = max(spans[windows.owner[i]], best_span(start, end, windows.offsets[i]))
    return [pair.context[start:end] for pair, (_, start, end) in zip(asked, spans, strict=True)]


def measure(questions: int, repeats: int) -> Iterator[Row]:
    """Runs the benchmark with a number of questions."""
    from qa_lightning import Reader

    asked = [QuestionAndContext(record["question"], record["context"]) for record in squad_shaped(questions)]
    records = [pair._asdict() for pair in asked]
    with tempfile.TemporaryDirectory() as temporary:
        source = write_model(MINILM, Path(temporary, "shape"))
        module = make_module(source)
        folder = Path(temporary, "model")
        module.save_pretrained(folder)
        command = [sys.executable, "-c", _COLD, str(folder)]
        cold = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    seconds, answering = map(float, cold.split())
    network, tokenizer = module.model.eval(), module.tokenizer
    reader = Reader(network, tokenizer)
    answers = [answer["answer"] for answer in reader(records, align_to_words=False)]
    same = sum(a == b for a, b in zip(answers, batches_by_hand(network, tokenizer, asked), strict=True))
    rates = [
        questions / best_of(run, repeats)
        for run in (
            lambda: reader(records),
            lambda: one_call_per_question(network, tokenizer, asked, padded=True),
            lambda: one_call_per_question(network, tokenizer, asked, padded=False),
            lambda: batches_by_hand(network, tokenizer, asked),
        )
    ]
    ours, loop, unpadded, by_hand = rates
    note = f"{questions:,} questions, {MINILM.name}; the same answer to {same:,} where words are not kept whole"
    yield row("reader", "questions/s beside a call per question", ours, peer=loop, bar=LOOP_BAR, note=note)
    yield row("reader", "questions/s beside the same without padding", ours, peer=unpadded)
    yield row("reader", f"questions/s beside batches of {BATCH} by hand", ours, peer=by_hand, bar=BATCH_BAR)
    yield row(
        "reader",
        "seconds to the first answer of a cold process",
        seconds,
        higher_is_better=False,
        unit="s",
        note=f"{answering:.2f} s once torch and transformers are imported and the model is read",
    )


def run(size: Size) -> list[Row]:
    """Runs the benchmark."""
    return list(measure(QUESTIONS[size], _REPEATS[size]))


if __name__ == "__main__":
    main(run, __doc__)
