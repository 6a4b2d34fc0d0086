"""The former pipeline's answers, all that were kept of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qa_lightning import Reader

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "top5": {"top_k": 5},
    "null": {"handle_impossible_answer": True, "top_k": 3},
    "nowords": {"align_to_words": False},
    "short": {"max_seq_len": 128, "doc_stride": 32, "max_answer_len": 8},
}
FILES = {
    "old-pipeline.xquad.en.dev.json": ("data/xquad.en.dev.json", 60),
    "old-pipeline.edge.json": ("golden/old-pipeline.edge.data.json", 12),
}


@pytest.mark.parametrize("golden", FILES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_answer_is_given_again(golden: str, setting: str, shared: Path) -> None:
    data, count = FILES[golden]
    asked = {
        qa["id"]: {"question": qa["question"], "context": paragraph["context"]}
        for article in json.loads((shared / data).read_text())["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }
    expected = json.loads((shared / "golden" / golden).read_text())[setting]
    assert len(expected) == count
    reader = Reader.from_pretrained(shared / "models/tiny-bert-qa", device="cpu")
    found = reader([asked[name] for name in expected], legacy=True, **SETTINGS[setting])
    for answer, (name, theirs) in zip(found, expected.items(), strict=True):
        ours = answer if isinstance(answer, list) else [answer]
        theirs = theirs if isinstance(theirs, list) else [theirs]
        assert [(one["start"], one["end"], one["answer"]) for one in ours] == [
            (one["start"], one["end"], one["answer"]) for one in theirs
        ], name
        assert [one["score"] for one in ours] == pytest.approx([one["score"] for one in theirs], abs=1e-4), name
