"""What the tests of exported folders share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qa_lightning.reader.reader import Reader

Row = dict[str, str]


def questions(path: Path) -> list[Row]:
    """The questions of a SQuAD file with their contexts, in its order."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return [
        {"question": qa["question"], "context": paragraph["context"]}
        for article in document["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]


def spans(reader: Reader, rows: list[Row], **settings: Any) -> list[tuple[int, int]]:
    """Where the best answers are."""
    return [(answer["start"], answer["end"]) for answer in reader(rows, **settings)]


def scores(reader: Reader, rows: list[Row], **settings: Any) -> list[float]:
    """The scores of the best answers."""
    return [answer["score"] for answer in reader(rows, **settings)]
