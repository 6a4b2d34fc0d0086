"""What 8 bits cost: scores, speed and size of two models on the same questions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from qa_lightning.data.sources import read_examples
from qa_lightning.reader.onnx_runner import ONNX_FILE
from qa_lightning.reader.reader import Reader
from qa_lightning.scoring.rules import rule_name, scorer
from qa_lightning.scoring.squad import evaluate

_WARM_UP = 32


@dataclass(frozen=True)
class Measured:
    """How well and how fast a model answers questions.

    Attributes:
        exact: EM in per cent.
        f1: F1 in per cent.
        speed: Questions per second, from texts to answers.
        size: Bytes of its files.
    """

    exact: float
    f1: float
    speed: float
    size: int


@dataclass(frozen=True)
class Quantized:
    """A model beside the same with weights in 8 bits.

    Attributes:
        data: The name of the file whose questions were asked.
        questions: How many they are.
        whole: The model in float32.
        int8: The other.
    """

    data: str
    questions: int
    whole: Measured
    int8: Measured

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """A table: model, EM, F1, questions per second and megabytes; the last row has the changes."""
        whole, int8 = self.whole, self.int8
        change = (
            "change",
            f"{int8.exact - whole.exact:+.2f}",
            f"{int8.f1 - whole.f1:+.2f}",
            f"× {int8.speed / whole.speed:.2f}",
            f"× {int8.size / whole.size:.2f}",
        )
        return [_row("float32", whole), _row("int8", int8), change]


def read_golds(file: str) -> pa.Table:
    """Reads the questions of a file that has golds, in any format that training reads.

    Raises:
        UserError: Where the file is missing or not of that kind.
    """
    return read_examples(split="validation", files=file, training=False, version_2_with_negative=True).table


def measure(reader: Reader, questions: pa.Table, size: int, language: str | None = None) -> Measured:
    """Asks a model all questions, scores the answers and takes the time.

    Args:
        reader: The model.
        questions: What `read_golds` returned.
        size: Bytes of the model's files.
        language: That of MLQA's rule to score by; None: SQuAD's rule.
    """
    records: Sequence[Mapping[str, Any]] = questions.select(["question", "context"]).to_pylist()
    for _ in reader.predictions(records[:_WARM_UP]):
        pass
    started = time.perf_counter()
    texts = [prediction.text for prediction in reader.predictions(records)]
    seconds = time.perf_counter() - started
    ids = questions["id"].to_pylist()
    golds = dict(zip(ids, questions["gold_texts"].to_pylist(), strict=True))
    rule = rule_name(language, null_allowed=reader.settings.handle_impossible_answer)
    scores = evaluate(golds, dict(zip(ids, texts, strict=True)), score=scorer(rule))
    return Measured(scores["exact"], scores["f1"], len(texts) / seconds, size)


def size_of(folder: Path) -> int:
    """Bytes of a folder's ONNX model, with the weights that stand beside it."""
    return sum(path.stat().st_size for path in folder.glob(f"{ONNX_FILE}*"))


def _row(name: str, model: Measured) -> tuple[str, str, str, str, str]:
    return name, f"{model.exact:.2f}", f"{model.f1:.2f}", f"{model.speed:,.1f}", f"{model.size / 1e6:.1f}"
