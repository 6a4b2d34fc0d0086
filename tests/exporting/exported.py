"""What the tests of exported folders share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

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


def check_alike(reader: Reader, other: Reader, rows: list[Row], **settings: Any) -> None:
    """The best answers of two readers are in the same places, with the same scores."""
    found, expected = reader(rows, **settings), other(rows, **settings)
    assert [(answer["start"], answer["end"]) for answer in found] == [
        (answer["start"], answer["end"]) for answer in expected
    ]
    assert [answer["score"] for answer in found] == pytest.approx([answer["score"] for answer in expected], abs=1e-4)
