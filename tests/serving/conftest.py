"""A Reader with a tiny model."""

from __future__ import annotations

import pytest

from qa_lightning import Reader
from tests.tiny import tiny_folder


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader.from_pretrained(tiny_folder(tmp_path_factory.mktemp("model")), max_question_len=12)
